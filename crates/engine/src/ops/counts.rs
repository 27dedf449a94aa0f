//! What the likelihoods of counts share.

use scgraft_numeric::math;

pub(crate) const EPSILON: f32 = 1e-8;
/// Entries computed together.
pub(crate) const CHUNK: usize = 16;

/// ln Γ(x + 1); small whole numbers from a table.
#[derive(Clone, Copy)]
pub(crate) struct LnFactorials(&'static [f64; 1024]);

impl LnFactorials {
    pub(crate) fn table() -> Self {
        use std::sync::LazyLock;
        static SMALL: LazyLock<[f64; 1024]> = LazyLock::new(|| {
            let mut table = [0.0; 1024];
            for i in 1..1024 {
                table[i] = table[i - 1] + (i as f64).ln();
            }
            table
        });
        LnFactorials(&SMALL)
    }

    #[inline(always)]
    pub(crate) fn of(self, x: f32) -> f64 {
        let i = x as usize;
        if i < 1024 && i as f32 == x { self.0[i] } else { beyond_table(x) }
    }
}

#[cold]
fn beyond_table(x: f32) -> f64 {
    math::lgamma_digamma(scgraft_numeric::isa::Separate, f64::from(x) + 1.0).0
}
