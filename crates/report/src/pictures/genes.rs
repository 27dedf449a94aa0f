//! The genes of a program by their weight.

use serde::{Deserialize, Serialize};

use super::{Picture, rows_fit, start};
use crate::ReportError;
use crate::axis::{Map, TICK, heading, limits, number, ruled, titles};
use crate::color::{BLUE, ORANGE};
use crate::legend::{self, Entry};
use crate::scene::{Paint, Scene, Size, Stroke, Text, Weight};

/// One gene of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneWeight {
    /// Name of the gene.
    pub name: String,
    /// Decoder weight; its size is the importance, its sign the direction.
    pub weight: f64,
    /// Whether the model added the gene to the program (soft gene sets, free programs); otherwise it was in the gene set.
    pub added: bool,
}

/// Gene importance in a program: bars, genes of the set and added genes in two colours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneBars {
    /// Title: the program.
    pub title: String,
    /// The genes in the order to draw.
    pub genes: Vec<GeneWeight>,
}

impl Picture for GeneBars {
    fn natural_size(&self) -> Size {
        Size::new(480.0, 110.0 + 17.0 * self.genes.len() as f64)
    }

    fn draw(&self, size: Size) -> Result<Scene, ReportError> {
        if self.genes.is_empty() {
            return Err(ReportError::Empty { what: "gene importance".into(), hint: "pass at least one gene" });
        }
        if let Some(row) = self.genes.iter().position(|g| !g.weight.is_finite()) {
            return Err(ReportError::Value {
                what: format!("gene importance, gene {:?}", self.genes[row].name),
                row,
                value: self.genes[row].weight,
                expected: "a finite weight",
            });
        }
        let what = if self.title.is_empty() { "Gene importance" } else { &self.title };
        let (mut scene, area) = start(what, size, Size::new(200.0, 120.0))?;
        let area = heading(&mut scene, area, &self.title);
        let entries = [("in the gene set", BLUE, false), ("added", ORANGE, true)];
        let entries: Vec<Entry> = entries
            .into_iter()
            .filter(|e| self.genes.iter().any(|g| g.added == e.2))
            .map(|(name, color, _)| Entry { name: name.to_owned(), color })
            .collect();
        let plan = legend::below(&scene, &entries, "", area.w, area.h * 0.3);
        legend::draw(&mut scene, &plan, &entries, "", area.x, area.y);
        let area = area.inside(0.0, plan.height + 4.0, 0.0, 0.0);

        let names: Vec<&str> = self.genes.iter().map(|g| g.name.as_str()).collect();
        let left = scene.widest(&names, TICK, Weight::Regular).min(area.w * 0.4) + 8.0;
        let inner = area.inside(left, 2.0, 8.0, 38.0);
        let row = inner.h / self.genes.len() as f64;
        let n = self.genes.len();
        rows_fit(&scene, (row, 9.5), n, || format!("gene importance of {n} genes"))?;
        let (lo, hi) = limits(self.genes.iter().map(|g| g.weight).chain([0.0]), 0.0);
        let x = Map::new(lo, hi, inner.x, inner.right());
        ruled(&mut scene, inner, x, (lo, hi), 7.0);
        let font = TICK.min(row * 0.95).max(9.0);
        for (i, gene) in self.genes.iter().enumerate() {
            let y = inner.y + (i as f64 + 0.5) * row;
            let (a, b) = (x.at(0.0), x.at(gene.weight));
            let height = (row * 0.72).min(22.0);
            scene.rect(
                a.min(b),
                y - height / 2.0,
                (b - a).abs().max(0.5),
                height,
                if gene.added { ORANGE } else { BLUE },
            );
            scene.tip(format!("{}: {}", gene.name, number(gene.weight, 4)));
            let name = scene.fit(&gene.name, font, Weight::Regular, left - 8.0).into_owned();
            scene.text(Text::new(inner.x - 6.0, y, name).size(font).end().centered());
        }
        let zero = x.at(0.0);
        scene.line((zero, inner.y), (zero, inner.bottom()), Stroke::new(Paint::Muted, 1.0));
        titles(&mut scene, area, inner, "decoder weight", "");
        Ok(scene)
    }
}
