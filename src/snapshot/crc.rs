//! CRC-32C of what was summed up in parts, side by side.
//!
//! A CRC is the remainder of a polynomial. Bytes that follow multiply what was before by a power of `x`, eight for
//! each byte; so the CRC of the whole is that of the first part, multiplied, plus that of the second. The crate that
//! sums up the bytes knows this too, but squares matrices for it, which took longer than the bytes of a part.

/// The polynomial of Castagnoli, bits reversed, without its highest term.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// `x` to the power of 0, bits reversed.
const ONE: u32 = 1 << 31;
/// Squarings that a length in bits may need.
const POWERS: usize = 67;

/// `x` to the powers of 1, 2, 4, 8 and so on.
static SQUARES: [u32; POWERS] = squares();

/// What so many bytes that follow multiply by, up to 255 of them.
static BYTES: [u32; 256] = powers(SQUARES_OF_BYTE);
/// The same for stretches of 256 bytes.
static PAGES: [u32; 256] = powers(SQUARES_OF_PAGE);
/// Which of [`SQUARES`] one byte multiplies by, and which 256 do.
const SQUARES_OF_BYTE: usize = 3;
const SQUARES_OF_PAGE: usize = 11;

/// The CRC of two stretches of bytes, one behind the other, the second of which has `len` bytes.
pub(super) fn combine(first: u32, second: u32, len: usize) -> u32 {
    // The length of a leaf, of which there are many.
    if let Ok(short) = u16::try_from(len) {
        let [low, high] = short.to_le_bytes().map(usize::from);
        if let (Some(low), Some(high)) = (BYTES.get(low), PAGES.get(high)) {
            return product(product(*low, *high), first) ^ second;
        }
    }
    let (mut power, mut rest) = (ONE, len);
    for square in SQUARES.iter().skip(3) {
        if rest == 0 {
            break;
        }
        if rest & 1 == 1 {
            power = product(power, *square);
        }
        rest >>= 1;
    }
    product(power, first) ^ second
}

const fn product(left: u32, mut right: u32) -> u32 {
    let (mut product, mut term) = (0, ONE);
    while term != 0 {
        if left & term != 0 {
            product ^= right;
        }
        right = if right & 1 == 1 { right >> 1 ^ POLYNOMIAL } else { right >> 1 };
        term >>= 1;
    }
    product
}

#[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which refuses what is out of bounds")]
const fn squares() -> [u32; POWERS] {
    let mut squares = [ONE >> 1; POWERS];
    let mut at = 1;
    while at < POWERS {
        squares[at] = product(squares[at - 1], squares[at - 1]);
        at += 1;
    }
    squares
}

#[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which refuses what is out of bounds")]
const fn powers(square: usize) -> [u32; 256] {
    let base = squares()[square];
    let mut powers = [ONE; 256];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = product(powers[at - 1], base);
        at += 1;
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_of_any_size_is_that_of_the_crate() {
        for len in [1, 255, 256, 4_095, 65_535, 65_536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 40) + 12_345] {
            assert_eq!(combine(0x1234_5678, 0x9abc_def0, len), crc32c::crc32c_combine(0x1234_5678, 0x9abc_def0, len));
        }
    }

    proptest! {
        #[test]
        fn two_parts_come_to_the_whole(first: Vec<u8>, second: Vec<u8>) {
            let whole = crc32c::crc32c(&[first.as_slice(), &second].concat());
            prop_assert_eq!(combine(crc32c::crc32c(&first), crc32c::crc32c(&second), second.len()), whole);
        }
    }
}
