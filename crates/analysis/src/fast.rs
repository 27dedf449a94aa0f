//! exp and powers in `f32` without branches, so that the compiler can work on several lanes at once.

/// Adding and taking away 1.5 · 2²³ rounds to a whole number, which then stands in the lowest bits.
const ROUNDER: f32 = 12_582_912.0;

/// 2^x to within 3e-7, relative; x is kept between −125 and 125.
#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    let x = x.clamp(-125.0, 125.0);
    let rounded = x + ROUNDER;
    let f = (x - (rounded - ROUNDER)) * std::f32::consts::LN_2;
    let polynomial =
        1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let exponent = rounded.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127);
    polynomial * f32::from_bits(exponent << 23)
}

/// e^x to within 1e-6 for |x| < 10, relative; e^−86 for anything below.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    exp2(x * std::f32::consts::LOG2_E)
}

/// x^y to within 2e-5, for x a positive normal number.
#[inline(always)]
pub(crate) fn power(x: f32, y: f32) -> f32 {
    // x = m 2^e with m in [√½, √2).
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_add(0x3f80_0000 - ROOT_HALF);
    let exponent = (shifted >> 23) as i32 - 127;
    let m = f32::from_bits((shifted & 0x007f_ffff) + ROOT_HALF);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let ln_m = 2.0 * t * (1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0))));
    exp2((exponent as f32 + ln_m * std::f32::consts::LOG2_E) * y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy() {
        for i in -60..60 {
            let x = 1.37f32.powi(i);
            for y in [0.7f32, 0.895, 1.0, 1.334] {
                let exact = f64::from(x).powf(f64::from(y));
                assert!((f64::from(power(x, y)) / exact - 1.0).abs() < 2e-5, "{x}^{y}: {} {exact}", power(x, y));
            }
        }
        for i in 0..1000 {
            let x = -0.01 * i as f32;
            assert!((f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs() < 2e-6, "e^{x}: {}", exp(x));
        }
        assert!(exp(-1e9) < 1e-37 && exp(0.0) == 1.0);
    }
}
