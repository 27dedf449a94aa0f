//! Colours: palettes that stay apart for colour-blind readers, and colour scales.

use serde::{Deserialize, Serialize};

/// A colour, 8-bit sRGB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// From `0xRRGGBB`.
    pub const fn hex(code: u32) -> Rgb {
        Rgb((code >> 16) as u8, (code >> 8) as u8, code as u8)
    }

    /// `#rrggbb`.
    pub fn css(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }

    /// From `#rrggbb`; what follows (an alpha) is passed over. `None` for anything else.
    pub fn of_css(text: &str) -> Option<Rgb> {
        let digits =
            text.strip_prefix('#').filter(|d| matches!(d.len(), 6 | 8) && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(&digits[..6], 16).ok().map(Rgb::hex)
    }

    /// The colour a share `t` of the way to `other` (component-wise in sRGB), t in 0..=1.
    pub fn mix(self, other: Rgb, t: f64) -> Rgb {
        let one = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
        Rgb(one(self.0, other.0), one(self.1, other.1), one(self.2, other.2))
    }

    /// Relative luminance (WCAG 2), 0 black to 1 white.
    pub fn luminance(self) -> f64 {
        let linear = |c: u8| {
            let s = f64::from(c) / 255.0;
            if s <= 0.04045 { s / 12.92 } else { ((s + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// Near-black or white, whichever reads better on this colour.
    pub fn text_on(self) -> Rgb {
        let dark = Rgb::hex(0x1F2430);
        let l = self.luminance();
        if (l + 0.05) / (dark.luminance() + 0.05) > 1.05 / (l + 0.05) { dark } else { Rgb(255, 255, 255) }
    }
}

/// Forty colours, ordered so that every first few are as far apart as can be, also as seen with deuteranopia and
/// protanopia. The first six are Okabe & Ito's (2008); `tools/palette.py` makes the rest.
pub const CATEGORIES: [Rgb; 40] = [
    Rgb::hex(0x0072B2),
    Rgb::hex(0xE69F00),
    Rgb::hex(0x009E73),
    Rgb::hex(0xD55E00),
    Rgb::hex(0xCC79A7),
    Rgb::hex(0x56B4E9),
    Rgb::hex(0x682030),
    Rgb::hex(0x70F0B8),
    Rgb::hex(0x382888),
    Rgb::hex(0x785870),
    Rgb::hex(0x884800),
    Rgb::hex(0x8080F0),
    Rgb::hex(0xD0E060),
    Rgb::hex(0xB0D8F8),
    Rgb::hex(0x98C080),
    Rgb::hex(0x284060),
    Rgb::hex(0x38D0C0),
    Rgb::hex(0x2848B0),
    Rgb::hex(0x584888),
    Rgb::hex(0xA85048),
    Rgb::hex(0xE86068),
    Rgb::hex(0x880000),
    Rgb::hex(0x883840),
    Rgb::hex(0x6890D0),
    Rgb::hex(0xA06890),
    Rgb::hex(0xE08848),
    Rgb::hex(0x4070D8),
    Rgb::hex(0xE0D090),
    Rgb::hex(0xC89898),
    Rgb::hex(0xE8C000),
    Rgb::hex(0x988048),
    Rgb::hex(0x38A8C0),
    Rgb::hex(0x780050),
    Rgb::hex(0xA048A0),
    Rgb::hex(0x80C8F8),
    Rgb::hex(0x70A0F8),
    Rgb::hex(0xC0C868),
    Rgb::hex(0xA0E0D8),
    Rgb::hex(0xF0A8A8),
    Rgb::hex(0xB05008),
];

/// Colour of a missing value.
pub const MISSING: Rgb = Rgb::hex(0xD3D6DB);

/// Colour of cells of no known type: one that no category has and that stands out from grey.
pub const UNKNOWN: Rgb = Rgb::hex(0xE6007E);

/// Blue of the palette: the first of two groups, or "in the set".
pub const BLUE: Rgb = CATEGORIES[0];
/// Orange of the palette: the second of two groups, or "added".
pub const ORANGE: Rgb = CATEGORIES[1];
/// Vermilion of the palette: what to look at.
pub const VERMILION: Rgb = CATEGORIES[3];

/// Colour of category `i`. Past forty the colours come again, each time paler, so that neighbours still differ.
pub fn category(i: usize) -> Rgb {
    let round = (i / CATEGORIES.len()).min(3) as f64;
    CATEGORIES[i % CATEGORIES.len()].mix(Rgb(255, 255, 255), round * 0.25)
}

/// A continuous colour scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Viridis (Smith & van der Walt 2015, CC0): dark purple to yellow, for values without a natural middle.
    Viridis,
    /// Blue, grey, vermilion: for values with a sign.
    Diverging,
    /// Almost white to dark blue: for shares and counts.
    Blues,
    /// Almost white to dark green.
    Greens,
    /// Almost white to dark orange.
    Oranges,
    /// Almost white to dark purple.
    Purples,
}

const VIRIDIS: [Rgb; 17] = [
    Rgb::hex(0x440154),
    Rgb::hex(0x48186A),
    Rgb::hex(0x472D7B),
    Rgb::hex(0x424086),
    Rgb::hex(0x3B528B),
    Rgb::hex(0x33638D),
    Rgb::hex(0x2C728E),
    Rgb::hex(0x26828E),
    Rgb::hex(0x21918C),
    Rgb::hex(0x1FA088),
    Rgb::hex(0x28AE80),
    Rgb::hex(0x3FBC73),
    Rgb::hex(0x5EC962),
    Rgb::hex(0x84D44B),
    Rgb::hex(0xADDC30),
    Rgb::hex(0xD8E219),
    Rgb::hex(0xFDE725),
];
const DIVERGING: [Rgb; 7] = [
    Rgb::hex(0x08407A),
    Rgb::hex(0x2F7FBF),
    Rgb::hex(0x93BFDF),
    Rgb::hex(0xE3E3E6),
    Rgb::hex(0xF2B38C),
    Rgb::hex(0xD9621F),
    Rgb::hex(0x852C00),
];
const BLUES: [Rgb; 5] =
    [Rgb::hex(0xF3F7FB), Rgb::hex(0xC3DBEE), Rgb::hex(0x7DB4DB), Rgb::hex(0x2E7EBC), Rgb::hex(0x0B4584)];
const GREENS: [Rgb; 5] =
    [Rgb::hex(0xF2F9F5), Rgb::hex(0xBFE5D2), Rgb::hex(0x71C7A1), Rgb::hex(0x1E9A6C), Rgb::hex(0x05583C)];
const ORANGES: [Rgb; 5] =
    [Rgb::hex(0xFDF6EC), Rgb::hex(0xFADBA8), Rgb::hex(0xF2B44F), Rgb::hex(0xD97F0E), Rgb::hex(0x8A4603)];

const PURPLES: [Rgb; 5] =
    [Rgb::hex(0xF7F4FA), Rgb::hex(0xD9CDE9), Rgb::hex(0xAE96CF), Rgb::hex(0x7B57AC), Rgb::hex(0x4A2480)];

impl Scale {
    /// The anchor colours, evenly spaced from 0 to 1.
    pub fn anchors(self) -> &'static [Rgb] {
        match self {
            Scale::Viridis => &VIRIDIS,
            Scale::Diverging => &DIVERGING,
            Scale::Blues => &BLUES,
            Scale::Greens => &GREENS,
            Scale::Oranges => &ORANGES,
            Scale::Purples => &PURPLES,
        }
    }

    /// The colour at `t`, clamped to 0..=1; NaN is [`MISSING`].
    pub fn at(self, t: f64) -> Rgb {
        if t.is_nan() {
            return MISSING;
        }
        let anchors = self.anchors();
        let place = t.clamp(0.0, 1.0) * (anchors.len() - 1) as f64;
        let i = (place as usize).min(anchors.len() - 2);
        anchors[i].mix(anchors[i + 1], place - i as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type M = [[f64; 3]; 3];
    // Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
    const NORMAL: M = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    const DEUTAN: M =
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]];
    const PROTAN: M =
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]];

    fn times(m: &M, v: [f64; 3]) -> [f64; 3] {
        [0, 1, 2].map(|i| m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2])
    }

    fn oklab(color: Rgb, eye: &M) -> [f64; 3] {
        let linear = [color.0, color.1, color.2].map(|c| {
            let s = f64::from(c) / 255.0;
            if s <= 0.04045 { s / 12.92 } else { ((s + 0.055) / 1.055).powf(2.4) }
        });
        let seen = times(eye, linear).map(|v| v.clamp(0.0, 1.0));
        let lms = times(
            &[
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ],
            seen,
        )
        .map(f64::cbrt);
        times(
            &[
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ],
            lms,
        )
    }

    fn nearest(n: usize, eye: &M) -> f64 {
        let lab: Vec<_> = CATEGORIES[..n].iter().map(|&c| oklab(c, eye)).collect();
        let mut least = f64::INFINITY;
        for i in 0..n {
            for j in 0..i {
                let d = (0..3).map(|k| (lab[i][k] - lab[j][k]).powi(2)).sum::<f64>().sqrt();
                least = least.min(d);
            }
        }
        least
    }

    #[test]
    fn categories_stay_apart_for_every_eye() {
        // 0.02 in OKLab is about the smallest difference seen side by side.
        for (n, apart) in [(6, 0.06), (12, 0.06), (20, 0.06), (30, 0.045)] {
            for eye in [&NORMAL, &DEUTAN, &PROTAN] {
                let d = nearest(n, eye);
                assert!(d > apart, "{n} colours: {d}");
            }
        }
    }

    #[test]
    fn colours_are_read_as_they_are_written() {
        assert_eq!(Rgb::of_css(&Rgb(1, 171, 255).css()), Some(Rgb(1, 171, 255)));
        assert_eq!(Rgb::of_css("#01abffcc"), Some(Rgb(1, 171, 255)));
        assert!(["red", "#12345", "#+12345", "#éé12"].into_iter().all(|t| Rgb::of_css(t).is_none()));
    }

    #[test]
    fn scales_hit_their_ends_and_lightness_is_monotone() {
        assert_eq!(Scale::Viridis.at(0.0), VIRIDIS[0]);
        assert_eq!(Scale::Viridis.at(7.0), VIRIDIS[16]);
        assert_eq!(Scale::Blues.at(f64::NAN), MISSING);
        for scale in [Scale::Viridis, Scale::Blues, Scale::Greens, Scale::Oranges, Scale::Purples] {
            let l: Vec<f64> = (0..=50).map(|i| scale.at(f64::from(i) / 50.0).luminance()).collect();
            let rising = l.windows(2).all(|w| w[1] >= w[0]);
            let falling = l.windows(2).all(|w| w[1] <= w[0]);
            assert!(rising || falling, "{scale:?}");
        }
    }

    #[test]
    fn text_is_readable_on_every_colour() {
        for color in CATEGORIES.into_iter().chain((0..=20).map(|i| Scale::Diverging.at(f64::from(i) / 20.0))) {
            let (a, b) = (color.luminance(), color.text_on().luminance());
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast > 3.9, "{} {contrast}", color.css());
        }
    }
}
