//! Seeded random numbers: the same on every machine with the same number of streams, whatever the threads.
//!
//! A generator is a key and a counter; draw `i` of stream `s` is a fixed function of (seed, s, i), so streams can
//! be given to rows, epochs or conditions and drawn from in any order. The mixing function is the finaliser of
//! SplitMix64 (Steele, Lea & Flood 2014, with Stafford's constants "mix13").

/// The golden ratio as a 64-bit odd step.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Random {
    /// Stream `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Random { state: mix(mix(seed.wrapping_add(STEP)) ^ mix(stream.wrapping_mul(STEP).wrapping_add(1))) }
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// Uniform on the open interval (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Uniform on 0..n (the bias of the multiplication, below n / 2⁶⁴, is left).
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Standard normal, by the Box–Muller transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
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
    fn shuffling_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(2, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
