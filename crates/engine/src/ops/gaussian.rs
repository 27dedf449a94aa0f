//! The Gaussian posterior.  v = exp(λ) + ε,  z = m + √v · n with n ~ N(0, 1),
//! KL(N(m, v) ‖ N(0, 1)) = ½ Σ (v + m² − 1 − ln v) a cell.
//!
//! m, λ and z are [latent × cell].

use scgraft_numeric::isa::kernel;
use scgraft_numeric::math;

use crate::tape::{Back, Backward, Layout, Shape, Tape, Var};

struct Sample {
    mean: Var,
    log_var: Var,
    z: Var,
    /// dz/dλ, element by element.
    slope: Vec<f32>,
}

struct Kl {
    mean: Var,
    log_var: Var,
    y: Var,
    epsilon: f32,
}

impl Tape<'_> {
    /// z = m + √(exp(λ) + ε) · noise, by the reparametrisation trick.
    pub fn gaussian_sample(&mut self, mean: Var, log_var: Var, epsilon: f32) -> Var {
        let shape = self.shape(mean);
        let mut noise = self.buffer(shape.len());
        self.draw_normal(&mut noise);
        let mut z = self.buffer(shape.len());
        sample(self.value(mean), self.value(log_var), epsilon, &mut noise, &mut z);
        let needs = self.needs(mean) || self.needs(log_var);
        let z = self.push(shape, z, needs);
        if self.needs(z) {
            self.record(Sample { mean, log_var, z, slope: noise });
        } else {
            self.recycle(noise);
        }
        z
    }

    /// v = exp(λ) + ε, to be read: no gradient flows through it.
    pub fn posterior_variance(&mut self, log_var: Var, epsilon: f32) -> Var {
        let shape = self.shape(log_var);
        let mut out = self.buffer(shape.len());
        variance(self.value(log_var), epsilon, &mut out);
        self.push(shape, out, false)
    }

    /// KL(N(m, exp(λ) + ε) ‖ N(0, 1)) of each cell, [cell × 1].
    pub fn kl_standard_normal(&mut self, mean: Var, log_var: Var, epsilon: f32) -> Var {
        let shape = self.shape(mean);
        debug_assert_eq!(shape.layout, Layout::ByFeature);
        let mut out = self.buffer(shape.cells);
        kl_forward(self.value(mean), self.value(log_var), epsilon, &mut out);
        let needs = self.needs(mean) || self.needs(log_var);
        let y = self.push(Shape::by_cell(shape.cells, 1), out, needs);
        if self.needs(y) {
            self.record(Kl { mean, log_var, y, epsilon });
        }
        y
    }
}

impl Backward for Sample {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gz) = back.take(self.z) else { return };
        if back.needs(self.log_var) {
            let mut g = back.take_or_zero(self.log_var);
            g.iter_mut().zip(&gz).zip(&self.slope).for_each(|((o, &g), &s)| *o += g * s);
            back.put(self.log_var, g);
        }
        if back.needs(self.mean) {
            let mut g = back.take_or_zero(self.mean);
            g.iter_mut().zip(&gz).for_each(|(o, &g)| *o += g);
            back.put(self.mean, g);
        }
        back.recycle(gz);
        back.recycle(self.slope);
    }
}

impl Backward for Kl {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        if back.needs(self.mean) {
            let mut g = back.take_or_zero(self.mean);
            let mean = back.value(self.mean);
            for (row, m) in g.chunks_exact_mut(gy.len()).zip(mean.chunks_exact(gy.len())) {
                row.iter_mut().zip(m).zip(&gy).for_each(|((o, &m), &g)| *o += g * m);
            }
            back.put(self.mean, g);
        }
        if back.needs(self.log_var) {
            let mut g = back.take_or_zero(self.log_var);
            kl_backward(back.value(self.log_var), self.epsilon, &gy, &mut g);
            back.put(self.log_var, g);
        }
        back.recycle(gy);
    }
}

kernel! {
/// Writes z, and turns the noise into dz/dλ = ½ exp(λ) n / √v.
fn sample(s, mean: &[f32], log_var: &[f32], epsilon: f32, noise: &mut [f32], z: &mut [f32]) {
    for (((z, n), &m), &l) in z.iter_mut().zip(noise).zip(mean).zip(log_var) {
        let e = math::exp(s, l);
        let sd = (e + epsilon).sqrt();
        *z = s.fma(sd, *n, m);
        *n *= 0.5 * e / sd;
    }
}
}

kernel! {
fn variance(s, log_var: &[f32], epsilon: f32, out: &mut [f32]) {
    for (o, &l) in out.iter_mut().zip(log_var) {
        *o = math::exp(s, l) + epsilon;
    }
}
}

kernel! {
fn kl_forward(s, mean: &[f32], log_var: &[f32], epsilon: f32, out: &mut [f32]) {
    out.fill(0.0);
    let cells = out.len();
    for (m, l) in mean.chunks_exact(cells).zip(log_var.chunks_exact(cells)) {
        for ((o, &m), &l) in out.iter_mut().zip(m).zip(l) {
            let v = math::exp(s, l) + epsilon;
            *o += 0.5 * (s.fma(m, m, v) - 1.0 - math::ln(s, v));
        }
    }
}
}

kernel! {
/// dKL/dλ = ½ exp(λ) (1 − 1/v)
fn kl_backward(s, log_var: &[f32], epsilon: f32, gy: &[f32], out: &mut [f32]) {
    let cells = gy.len();
    for (o, l) in out.chunks_exact_mut(cells).zip(log_var.chunks_exact(cells)) {
        for ((o, &l), &g) in o.iter_mut().zip(l).zip(gy) {
            let e = math::exp(s, l);
            let v = e + epsilon;
            *o += g * 0.5 * e * (v - 1.0) / v;
        }
    }
}
}

#[cfg(test)]
mod tests {
    use scgraft_numeric::random::Key;

    use crate::ops::check::Check;
    use crate::tape::{Noise, Shape};

    #[test]
    fn sample_with_given_noise() {
        let mut noise = vec![0f32; 12];
        Key::new(4).fill_normal(&mut noise);
        let mut check = Check::new();
        check.noise = Noise::Given(vec![noise.clone()]);
        let m = check.input("m", Shape::by_feature(3, 4));
        let l = check.input("l", Shape::by_feature(3, 4));
        check.twin(move |v| {
            let (m, l) = (v.input(m), v.input(l));
            (0..12).map(|i| m[i] + (l[i].exp() + 1e-4).sqrt() * f64::from(noise[i])).collect()
        });
        check.run(|t, v| t.gaussian_sample(v.input(m), v.input(l), 1e-4));
    }

    #[test]
    fn divergence_from_the_prior() {
        let mut check = Check::new();
        let m = check.input("m", Shape::by_feature(3, 4));
        let l = check.input("l", Shape::by_feature(3, 4));
        check.twin(move |v| {
            let (m, l) = (v.input(m), v.input(l));
            let kl = |i: usize| {
                let var = l[i].exp() + 1e-4;
                0.5 * (var + m[i] * m[i] - 1.0 - var.ln())
            };
            (0..4).map(|c| (0..3).map(|p| kl(p * 4 + c)).sum()).collect()
        });
        check.run(|t, v| t.kl_standard_normal(v.input(m), v.input(l), 1e-4));
    }
}
