//! Runtime choice of instruction set.
//!
//! A kernel is plain Rust over slices, written once. [`kernel!`] compiles it for AVX-512, for
//! AVX2 with fused multiply-add and for the build's baseline, and calls the best that the
//! processor has. The compiler vectorises the loops; every lane does the same IEEE operations in
//! the same order, so a vector loop and its scalar tail give the same bits.

/// How a kernel multiplies and adds: with or without a fused instruction.
pub trait Isa: Copy {
    /// `a · b + c`
    fn fma(self, a: f32, b: f32, c: f32) -> f32;
    /// `a · b + c`
    fn fma64(self, a: f64, b: f64, c: f64) -> f64;
}

/// The processor has fused multiply-add.
#[derive(Clone, Copy)]
pub struct Fused;

/// The processor may lack it (a fused result would cost a library call an element).
#[derive(Clone, Copy)]
#[cfg_attr(target_arch = "aarch64", expect(dead_code, reason = "every aarch64 processor fuses"))]
pub struct Separate;

impl Isa for Fused {
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn fma64(self, a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
}

impl Isa for Separate {
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn fma64(self, a: f64, b: f64, c: f64) -> f64 {
        a * b + c
    }
}

/// Instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As [`Level::Avx2`], with AVX-512 F, BW, DQ, VL.
    Avx512,
    /// x86-64 with AVX2, FMA and BMI2.
    Avx2,
    /// What the build targets: SSE2 on x86-64, NEON on aarch64, SIMD128 where enabled on wasm32.
    Baseline,
}

/// The instruction set that kernels use on this processor.
pub fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        use std::sync::OnceLock;
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let fma =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (wide, fma) {
                (true, true) => Level::Avx512,
                (false, true) => Level::Avx2,
                _ => Level::Baseline,
            }
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    Level::Baseline
}

/// Clears the upper halves of the vector registers, as code compiled for wide vectors does when it returns.
///
/// Hand-written kernels of a library may leave them in use; every instruction of the baseline then waits to keep
/// them intact, which makes plain loops several times slower until they are cleared.
pub fn leave_wide() {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx")]
        fn clear() {
            std::arch::x86_64::_mm256_zeroupper();
        }
        if level() != Level::Baseline {
            // SAFETY: both other levels imply AVX.
            #[allow(unsafe_code)]
            unsafe {
                clear();
            }
        }
    }
}

/// Defines a function compiled once per instruction set; see the [module](self).
#[macro_export]
macro_rules! kernel {
    ($(#[$attr:meta])* $vis:vis fn $name:ident($s:ident $(, $arg:ident: $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$attr])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, unused_variables)]
            fn body<I: $crate::isa::Isa>($s: I $(, $arg: $ty)*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                body($crate::isa::Fused $(, $arg)*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi2")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                body($crate::isa::Fused $(, $arg)*)
            }

            #[cfg(target_arch = "x86_64")]
            let result = match $crate::isa::level() {
                // SAFETY: `level` has seen that the processor has these features.
                #[allow(unsafe_code)]
                $crate::isa::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[allow(unsafe_code)]
                $crate::isa::Level::Avx2 => unsafe { avx2($($arg),*) },
                $crate::isa::Level::Baseline => body($crate::isa::Separate $(, $arg)*),
            };
            #[cfg(target_arch = "aarch64")]
            let result = body($crate::isa::Fused $(, $arg)*);
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            let result = body($crate::isa::Separate $(, $arg)*);
            #[allow(clippy::let_and_return, clippy::let_unit_value)]
            result
        }
    };
}
pub use kernel;
