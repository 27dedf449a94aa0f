//! A stream of random numbers, drawn from in turn.

use super::{STEP, mix, scale, spread};

/// A stream of random numbers: draw `i` of stream `s` is a fixed function of (seed, s, i), so that rows, epochs or
/// conditions can have a stream each and be drawn from in any order.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    /// Where a uniform number lies in its interval of width 2⁻⁵³.
    offset: f64,
}

impl Random {
    /// Stream `stream` of `seed`; uniform numbers are those of the open interval (0, 1).
    pub fn new(seed: u64, stream: u64) -> Self {
        let state = spread(spread(seed.wrapping_add(STEP)) ^ spread(stream.wrapping_mul(STEP).wrapping_add(1)));
        Random { state, offset: 0.5 }
    }

    /// Stream `stream` of `seed`, other than that of [`Random::new`]; uniform numbers can be 0. Its draws are
    /// [`mix`] of one key, counted from 1.
    pub fn half_open(seed: u64, stream: u64) -> Self {
        Random { state: mix(seed, stream).wrapping_add(STEP), offset: 0.0 }
    }

    /// The next 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        spread(self.state)
    }

    /// Uniform between 0 and 1.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + self.offset) / (1u64 << 53) as f64
    }

    /// Uniform on 0..n (the bias of the multiplication, below n / 2⁶⁴, is left).
    pub fn below(&mut self, n: usize) -> usize {
        scale(self.bits(), n as u64) as usize
    }

    /// Standard normal, by the transform of Box & Muller (1958).
    pub fn normal(&mut self) -> f64 {
        let u = self.uniform();
        // What the logarithm takes is never 0.
        let positive = if self.offset > 0.0 { u } else { 1.0 - u };
        let radius = (-2.0 * positive.ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Gamma with the given shape and scale 1, by Marsaglia & Tsang (2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = self.uniform().powf(1.0 / shape);
            return boost * self.gamma(shape + 1.0);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Poisson, by counting down the cumulative distribution; a large mean is cut in equal parts, since
    /// Poisson(a + b) = Poisson(a) + Poisson(b).
    pub fn poisson(&mut self, mean: f64) -> u32 {
        const SMALL: f64 = 30.0;
        let parts = (mean / SMALL).ceil().max(1.0);
        let part = mean / parts;
        let floor = (-part).exp();
        let mut total = 0;
        for _ in 0..parts as u64 {
            let mut left = self.uniform();
            let mut p = floor;
            let mut k = 0u32;
            // The bound stops the rounding of the far tail from looping on.
            while left > p && k < 500 {
                left -= p;
                k += 1;
                p *= part / f64::from(k);
            }
            total += k;
        }
        total
    }

    /// Negative binomial with mean μ and inverse dispersion θ (variance μ + μ²/θ), as gamma–Poisson.
    pub fn negative_binomial(&mut self, mean: f64, theta: f64) -> u32 {
        let rate = self.gamma(theta) * mean / theta;
        self.poisson(rate)
    }

    /// Puts items in random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of `n` draws.
    fn moments(n: usize, mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..n).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64)
    }

    /// Five standard errors of the mean; the variance to 5 %.
    fn assert_moments(what: &str, (mean, variance): (f64, f64), expected: (f64, f64), n: usize) {
        let tolerance = 5.0 * (expected.1 / n as f64).sqrt();
        assert!((mean - expected.0).abs() < tolerance, "{what}: mean {mean}, expected {}", expected.0);
        assert!((variance / expected.1 - 1.0).abs() < 0.05, "{what}: variance {variance}, expected {}", expected.1);
    }

    #[test]
    fn samplers_have_the_moments_of_their_distributions() {
        let n = 200_000;
        let mut r = Random::new(1, 0);
        assert_moments("uniform", moments(n, || r.uniform()), (0.5, 1.0 / 12.0), n);
        assert_moments("normal", moments(n, || r.normal()), (0.0, 1.0), n);
        let mut half_open = Random::half_open(7, 1);
        assert_moments("normal", moments(n, || half_open.normal()), (0.0, 1.0), n);
        for shape in [0.3, 1.0, 4.5] {
            assert_moments("gamma", moments(n, || r.gamma(shape)), (shape, shape), n);
        }
        for mean in [0.05, 3.0, 29.0, 31.0, 250.0] {
            assert_moments("poisson", moments(n, || f64::from(r.poisson(mean))), (mean, mean), n);
        }
        let nb = moments(n, || f64::from(r.negative_binomial(4.0, 2.0)));
        assert_moments("negative binomial", nb, (4.0, 4.0 + 16.0 / 2.0), n);
        let six = moments(n, || r.below(6) as f64);
        assert_moments("below", six, (2.5, 35.0 / 12.0), n);
    }

    #[test]
    fn streams_are_fixed_and_apart() {
        let draw = |seed, stream| Random::new(seed, stream).uniform();
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
        let n = 100_000;
        let (mean, _) = moments(n, {
            let mut s = 0;
            move || {
                s += 1;
                let mut a = Random::new(5, s);
                let mut b = Random::new(5, s + 1);
                (a.uniform() - 0.5) * (b.uniform() - 0.5) * 12.0
            }
        });
        assert!(mean.abs() < 5.0 / (n as f64).sqrt(), "neighbouring streams correlate: {mean}");
    }

    #[test]
    fn streams_are_those_of_every_version() {
        assert_eq!(Random::half_open(7, 3).bits(), mix(mix(7, 3), 1));
        let known = [
            (Random::new(7, 3), (0x3abac588200e4375, 0.7091422727099661, 0.5059416707303207)),
            (Random::half_open(7, 3), (0x3b43325c33913dc4, 0.4300351770435197, -0.7339243619403153)),
        ];
        for (mut r, (bits, uniform, normal)) in known {
            assert_eq!((r.bits(), r.uniform()), (bits, uniform));
            assert!((r.normal() - normal).abs() < 1e-15);
        }
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(2, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
