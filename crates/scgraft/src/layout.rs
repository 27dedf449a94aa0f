//! Cells in the plane: the UMAP of an embedding, and a query placed in the picture of its reference.

use scgraft_analysis::neighbours::{Found, Neighbours, Search};
use scgraft_analysis::umap::{Umap, UmapOptions, umap};
use scgraft_cells::{Cells, Dense};
use scgraft_models::mean_on_grid;

use crate::embedding::shared;
use crate::{Embedding, Error, slots};

/// How cells are laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutPlan {
    /// Neighbours of each cell; itself included, but for cells that are placed.
    pub k: usize,
    /// How tightly cells may be packed. `None`: as in the reference's picture, else 0.5.
    pub min_dist: Option<f64>,
    /// The scale of the picture. `None`: as in the reference's picture, else 1.
    pub spread: Option<f64>,
    /// Rounds over the edges. `None`: 500 up to 10,000 cells, else 200; a third of it to place cells.
    pub epochs: Option<usize>,
    /// Seed of everything random.
    pub seed: u64,
    /// How neighbours are searched for.
    pub search: Search,
}

impl Default for LayoutPlan {
    fn default() -> Self {
        LayoutPlan { k: 15, min_dist: None, spread: None, epochs: None, seed: 0, search: Search::Exact }
    }
}

/// Cells in the plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Cells × 2.
    pub coordinates: Dense,
    /// `min_dist` and `spread` that it was made with; `None` where they are not known.
    pub scale: Option<(f64, f64)>,
    /// Whether the cells were placed in the picture of a reference.
    pub placed: bool,
}

impl LayoutPlan {
    /// The neighbours that [`lay_out`] starts from.
    ///
    /// # Errors
    /// Of [`Search::among`] and [`UmapOptions::check`].
    pub fn among(&self, cells: &Embedding) -> Result<Found, Error> {
        self.options(None).check()?;
        Ok(self.search.among(&cells.mean, self.k, true)?)
    }

    /// The neighbours in a reference that [`place`] starts from, in the dimensions of the reference.
    ///
    /// # Errors
    /// A dimension of the reference that the query lacks; of [`Search::between`] and [`UmapOptions::check`].
    pub fn between(&self, reference: &Embedding, query: &Embedding) -> Result<Found, Error> {
        self.options(None).check()?;
        // As a model carries them.
        Ok(self.search.between(&mean_on_grid(&reference.mean), &shared(reference, query)?.mean, self.k)?)
    }

    fn options(&self, scale: Option<(f64, f64)>) -> UmapOptions {
        let usual = UmapOptions::default();
        let (min_dist, spread) = scale.unwrap_or((usual.min_dist, usual.spread));
        let (min_dist, spread) = (self.min_dist.unwrap_or(min_dist), self.spread.unwrap_or(spread));
        UmapOptions { min_dist, spread, n_epochs: self.epochs, seed: self.seed }
    }
}

/// Lays cells out by their neighbours ([`LayoutPlan::among`]).
///
/// # Errors
/// Of [`umap`].
pub fn lay_out(cells: &Embedding, near: &Neighbours, plan: &LayoutPlan) -> Result<Layout, Error> {
    let options = plan.options(None);
    let coordinates = umap(&cells.mean, near, &options)?.embedding;
    Ok(Layout { coordinates, scale: Some((options.min_dist, options.spread)), placed: false })
}

/// Places cells in the picture of a reference, which stays as it is, by their neighbours there ([`LayoutPlan::between`]).
///
/// # Errors
/// Of [`Umap::from_embedding`] and [`Umap::transform`].
pub fn place(reference: &Layout, near: &Neighbours, plan: &LayoutPlan) -> Result<Layout, Error> {
    let options = plan.options(reference.scale);
    let coordinates = Umap::from_embedding(reference.coordinates.clone(), &options)?.transform(near)?;
    Ok(Layout { coordinates, scale: Some((options.min_dist, options.spread)), placed: true })
}

/// A picture of a reference and the query placed in it; of the query alone without a reference, or where the query lacks
/// its dimensions.
///
/// Pictures that the cells have in [`slots::UMAP`] are taken as they are: that of the reference, and of the query one that
/// was made in it (without a reference: any).
///
/// # Errors
/// Of [`lay_out`] and [`place`].
pub fn together(
    reference: Option<(&Cells, &Embedding)>,
    (cells, query): (&Cells, &Embedding),
    seed: u64,
) -> Result<(Option<Dense>, Dense), Error> {
    let stored = |cells: &Cells| slots::layout(cells, slots::UMAP).filter(|l| l.coordinates.n_cols == 2);
    let plan = |e: &Embedding| {
        let usual = LayoutPlan::default();
        LayoutPlan { k: usual.k.min(e.mean.n_rows), seed, ..usual }
    };
    let new = |e: &Embedding| lay_out(e, &plan(e).among(e)?.neighbours, &plan(e));
    let own = stored(cells);
    let Some((reference, known)) = reference.filter(|(_, e)| query.select(&e.names).is_some()) else {
        return Ok((None, own.map_or_else(|| new(query), Ok)?.coordinates));
    };
    let drawn = match (stored(reference), own) {
        (Some(drawn), Some(own)) if own.placed => return Ok((Some(drawn.coordinates), own.coordinates)),
        // Cells are placed on the usual scale, whatever that of the picture.
        (Some(drawn), _) => Layout { scale: None, ..drawn },
        (None, _) => new(known)?,
    };
    let placed = place(&drawn, &plan(known).between(known, query)?.neighbours, &plan(known))?;
    Ok((Some(drawn.coordinates), placed.coordinates))
}
