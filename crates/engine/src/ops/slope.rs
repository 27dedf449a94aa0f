//! One value whose derivatives are known once it is: penalties and losses of a whole batch.

use crate::tape::{Back, Backward, Var};

pub(super) struct Slope {
    pub x: Var,
    /// The value.
    pub y: Var,
    /// dy/dx, in the layout of x.
    pub slope: Vec<f32>,
}

impl Backward for Slope {
    fn backward(self: Box<Self>, back: &mut Back<'_>) {
        let Some(gy) = back.take(self.y) else { return };
        let mut g = back.take_or_zero(self.x);
        g.iter_mut().zip(&self.slope).for_each(|(o, &s)| *o += gy[0] * s);
        back.put(self.x, g);
        back.recycle(gy);
        back.recycle(self.slope);
    }
}
