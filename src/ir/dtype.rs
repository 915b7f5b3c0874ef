//! Element types of the standard.

use std::fmt;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $bits:literal, $name:literal;)*) => {
        /// The element type of a tensor: `TensorProto.DataType` of the standard.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum DType { $($(#[$doc])* $variant = $code,)* }

        impl DType {
            /// Every element type, in the order of the standard's codes.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// The type with this code of `TensorProto.DataType`; `None` for `UNDEFINED` and for codes of a newer standard.
            pub const fn from_code(code: i32) -> Option<DType> {
                match code { $($code => Some(DType::$variant),)* _ => None }
            }

            /// Bits that one element takes in `raw_data`; 0 for strings.
            pub const fn bits(self) -> u64 {
                match self { $(DType::$variant => $bits,)* }
            }

            /// The name in the ONNX text syntax, such as `float` or `int64`.
            pub const fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)* }
            }
        }
    };
}

dtypes! {
    /// IEEE 754 binary32.
    Float = 1, 32, "float";
    /// Unsigned 8-bit integer.
    Uint8 = 2, 8, "uint8";
    /// Signed 8-bit integer.
    Int8 = 3, 8, "int8";
    /// Unsigned 16-bit integer.
    Uint16 = 4, 16, "uint16";
    /// Signed 16-bit integer.
    Int16 = 5, 16, "int16";
    /// Signed 32-bit integer.
    Int32 = 6, 32, "int32";
    /// Signed 64-bit integer.
    Int64 = 7, 64, "int64";
    /// UTF-8 string.
    String = 8, 0, "string";
    /// Boolean, one byte an element.
    Bool = 9, 8, "bool";
    /// IEEE 754 binary16.
    Float16 = 10, 16, "float16";
    /// IEEE 754 binary64.
    Double = 11, 64, "double";
    /// Unsigned 32-bit integer.
    Uint32 = 12, 32, "uint32";
    /// Unsigned 64-bit integer.
    Uint64 = 13, 64, "uint64";
    /// Complex number of two binary32.
    Complex64 = 14, 64, "complex64";
    /// Complex number of two binary64.
    Complex128 = 15, 128, "complex128";
    /// The upper half of a binary32.
    Bfloat16 = 16, 16, "bfloat16";
    /// 8-bit float: 4 exponent, 3 mantissa bits, NaN but no infinity.
    Float8e4m3fn = 17, 8, "float8e4m3fn";
    /// 8-bit float: 4 exponent, 3 mantissa bits, no negative zero.
    Float8e4m3fnuz = 18, 8, "float8e4m3fnuz";
    /// 8-bit float: 5 exponent, 2 mantissa bits, infinities.
    Float8e5m2 = 19, 8, "float8e5m2";
    /// 8-bit float: 5 exponent, 2 mantissa bits, no negative zero.
    Float8e5m2fnuz = 20, 8, "float8e5m2fnuz";
    /// Unsigned 4-bit integer, two in a byte.
    Uint4 = 21, 4, "uint4";
    /// Signed 4-bit integer, two in a byte.
    Int4 = 22, 4, "int4";
    /// 4-bit float: 2 exponent, 1 mantissa bit, two in a byte.
    Float4e2m1 = 23, 4, "float4e2m1";
    /// 8-bit scale: exponent only.
    Float8e8m0 = 24, 8, "float8e8m0";
    /// Unsigned 2-bit integer, four in a byte.
    Uint2 = 25, 2, "uint2";
    /// Signed 2-bit integer, four in a byte.
    Int2 = 26, 2, "int2";
    /// 6-bit float: 2 exponent, 3 mantissa bits, four in three bytes.
    Float6e2m3 = 27, 6, "float6e2m3";
    /// 6-bit float: 3 exponent, 2 mantissa bits, four in three bytes.
    Float6e3m2 = 28, 6, "float6e3m2";
}

impl DType {
    /// The code of `TensorProto.DataType`.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The type with this name of the ONNX text syntax.
    pub fn from_name(name: &str) -> Option<DType> {
        Self::ALL.iter().copied().find(|d| d.name() == name)
    }

    /// Bytes that `elements` elements take in `raw_data`; `None` where that overflows.
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        elements.checked_mul(self.bits())?.checked_add(7).map(|bits| bits / 8)
    }

    /// Whether this is a floating-point type of any width.
    pub const fn is_float(self) -> bool {
        self.has_f64s() || self.is_small_float()
    }

    /// Whether this is a 16- to 64-bit float, which arithmetic on weights reads and writes.
    pub const fn has_f64s(self) -> bool {
        use DType::{Bfloat16, Double, Float, Float16};
        matches!(self, Float | Float16 | Double | Bfloat16)
    }

    /// Whether this is one of the 4- to 8-bit floating-point types.
    pub const fn is_small_float(self) -> bool {
        use DType::{
            Float4e2m1, Float6e2m3, Float6e3m2, Float8e4m3fn, Float8e4m3fnuz, Float8e5m2, Float8e5m2fnuz,
            Float8e8m0,
        };
        matches!(
            self,
            Float8e4m3fn
                | Float8e4m3fnuz
                | Float8e5m2
                | Float8e5m2fnuz
                | Float4e2m1
                | Float8e8m0
                | Float6e2m3
                | Float6e3m2
        )
    }

    /// Whether this is an integer type of any width; booleans are not.
    pub const fn is_int(self) -> bool {
        use DType::{Int2, Int4, Int8, Int16, Int32, Int64, Uint2, Uint4, Uint8, Uint16, Uint32, Uint64};
        matches!(
            self,
            Uint8 | Int8 | Uint16 | Int16 | Int32 | Int64 | Uint32 | Uint64 | Uint4 | Int4 | Uint2 | Int2
        )
    }

    /// Whether this is a signed integer type.
    pub const fn is_signed_int(self) -> bool {
        use DType::{Int2, Int4, Int8, Int16, Int32, Int64};
        matches!(self, Int8 | Int16 | Int32 | Int64 | Int4 | Int2)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
