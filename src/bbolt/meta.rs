//! The two meta pages, and which of them counts.

use super::fault::unreadable;
use super::layout::{
    MAGIC, MAX_PAGE_SIZE, MAX_TXID, META, META_CHECKSUM, META_FREELIST, META_MAGIC, META_PAGE_FLAG, META_PAGE_SIZE,
    META_PGID, META_ROOT, META_SEQUENCE, META_SIZE, META_TXID, META_VERSION, MIN_PAGE_SIZE, PAGE_FLAGS, PAGE_ID,
    VERSION, put, u32_at, u64_at,
};
use crate::defect::Defect;
use crate::read_at::ReadAt;

/// [`Meta::freelist`] of a database whose freelist is not persisted, as etcd's on Linux never is.
pub const PGID_NO_FREELIST: u64 = u64::MAX;

const META_END: usize = META + META_SIZE;

/// What a meta page says, magic, version and checksum aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Bytes a page; a power of two.
    pub page_size: u32,
    /// Root page of the root bucket.
    pub root: u64,
    /// Sequence of the root bucket; etcd uses none.
    pub sequence: u64,
    /// Page of the freelist, or [`PGID_NO_FREELIST`].
    pub freelist: u64,
    /// First page number never used.
    pub high_water_mark: u64,
    /// Transaction that wrote it.
    pub txid: u64,
}

impl Meta {
    /// Reads the meta out of `bytes`, the first bytes of page `page`.
    ///
    /// # Errors
    /// bbolt's `invalid database`, `version mismatch` or `checksum error`, or a page size that is none.
    pub fn decode(bytes: &[u8], page: u64) -> Result<Self, Defect> {
        let short = || Defect::new("database-too-small", format!("page {page}: no room for a meta")).on_page(page);
        let meta = bytes.get(META..META_END).ok_or_else(short)?;
        let field32 = |at| u32_at(meta, at).ok_or_else(short);
        let field64 = |at| u64_at(meta, at).ok_or_else(short);
        let defect = |code, message: String| Defect::new(code, format!("page {page}: {message}")).on_page(page);

        let magic = field32(META_MAGIC)?;
        if magic != MAGIC {
            return Err(defect("meta-magic", format!("invalid database: magic {magic:08x}, not {MAGIC:08x}")));
        }
        let version = field32(META_VERSION)?;
        if version != VERSION {
            return Err(defect("meta-version", format!("version mismatch: {version}, not {VERSION}")));
        }
        let (stored, computed) = (field64(META_CHECKSUM)?, checksum(meta));
        if stored != computed {
            let message = format!("checksum error: {stored:016x} is stored, {computed:016x} computed");
            return Err(defect("meta-checksum", message));
        }
        let page_size = field32(META_PAGE_SIZE)?;
        if !page_size.is_power_of_two() || !(MIN_PAGE_SIZE..=MAX_PAGE_SIZE).contains(&page_size) {
            let message = format!(
                "page size {page_size} in the meta, not a power of two from {MIN_PAGE_SIZE} to {MAX_PAGE_SIZE}"
            );
            return Err(defect("meta-page-size", message));
        }
        Ok(Self {
            page_size,
            root: field64(META_ROOT)?,
            sequence: field64(META_SEQUENCE)?,
            freelist: field64(META_FREELIST)?,
            high_water_mark: field64(META_PGID)?,
            txid: field64(META_TXID)?,
        })
    }

    /// Whether both are of one state, as in what bbolt copies (`Tx.WriteTo`): all but the transaction is the same.
    pub(super) fn is_of_state(&self, other: &Self) -> bool {
        Self { txid: other.txid, ..self.clone() } == *other
    }

    /// What is wrong with the transaction id, if anything is.
    pub(super) fn txid_defect(&self) -> Option<Defect> {
        (self.txid > MAX_TXID).then(|| {
            let message =
                format!("transaction id {} leaves no room for later ones, at most {MAX_TXID} is accepted", self.txid);
            Defect::new("meta-txid", message)
        })
    }

    /// The whole of meta page `page` (0 or 1), [`Meta::page_size`] bytes.
    #[must_use]
    pub fn encode(&self, page: u64) -> Vec<u8> {
        let mut meta = [0; META_SIZE];
        put(&mut meta, META_MAGIC, &MAGIC.to_le_bytes());
        put(&mut meta, META_VERSION, &VERSION.to_le_bytes());
        put(&mut meta, META_PAGE_SIZE, &self.page_size.to_le_bytes());
        put(&mut meta, META_ROOT, &self.root.to_le_bytes());
        put(&mut meta, META_SEQUENCE, &self.sequence.to_le_bytes());
        put(&mut meta, META_FREELIST, &self.freelist.to_le_bytes());
        put(&mut meta, META_PGID, &self.high_water_mark.to_le_bytes());
        put(&mut meta, META_TXID, &self.txid.to_le_bytes());
        let checksum = checksum(&meta);
        put(&mut meta, META_CHECKSUM, &checksum.to_le_bytes());

        let mut bytes = vec![0; self.page_size as usize];
        put(&mut bytes, PAGE_ID, &page.to_le_bytes());
        put(&mut bytes, PAGE_FLAGS, &META_PAGE_FLAG.to_le_bytes());
        put(&mut bytes, META, &meta);
        bytes
    }
}

/// FNV-1a 64 over the fields before the checksum (Go's `hash/fnv`).
fn checksum(meta: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    meta.iter().take(META_CHECKSUM).fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// The meta that counts, and the other one, or what is wrong with that.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) meta: Meta,
    pub(super) other: Result<Meta, Defect>,
}

/// The newest valid meta of a database, of which nothing else is looked at.
///
/// # Errors
/// What is wrong with both metas.
pub fn newest_meta<R: ReadAt>(source: &R) -> Result<Meta, Vec<Defect>> {
    choose(source).map(|chosen| chosen.meta)
}

/// Reads both metas and chooses as bbolt does: the valid one with the higher transaction id (`DB.meta`).
///
/// The page size comes from meta 0 if that is valid; else meta 1 is looked for behind every page size there is
/// (`DB.getPageSizeFromSecondMeta`), and must name the page size that it was found behind.
pub(super) fn choose<R: ReadAt>(source: &R) -> Result<Chosen, Vec<Defect>> {
    match read(source, 0, 0) {
        Ok(first) => Ok(match second(source, first.page_size) {
            Ok(second) if second.txid > first.txid => Chosen { meta: second, other: Ok(first) },
            other => Chosen { meta: first, other },
        }),
        Err(defect) => match page_sizes().find_map(|page_size| second(source, page_size).ok()) {
            Some(second) => Ok(Chosen { meta: second, other: Err(defect) }),
            None => Err(vec![defect, no_second()]),
        },
    }
}

fn page_sizes() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(MIN_PAGE_SIZE), |size| size.checked_mul(2)).take_while(|size| *size <= MAX_PAGE_SIZE)
}

fn no_second() -> Defect {
    let message = format!("page 1: no valid meta behind any page size from {MIN_PAGE_SIZE} to {MAX_PAGE_SIZE}");
    Defect::new("meta-missing", message).on_page(1)
}

fn second<R: ReadAt>(source: &R, page_size: u32) -> Result<Meta, Defect> {
    let meta = read(source, u64::from(page_size), 1)?;
    if meta.page_size == page_size {
        return Ok(meta);
    }
    let message = format!("page 1: page size {} in the meta, {page_size} in the file", meta.page_size);
    Err(Defect::new("meta-page-size", message).on_page(1))
}

fn read<R: ReadAt>(source: &R, offset: u64, page: u64) -> Result<Meta, Defect> {
    let end = offset.saturating_add(META_END as u64);
    if source.len() < end {
        let message = format!("page {page}: the database has {} bytes, its meta ends at {end}", source.len());
        return Err(Defect::new("database-too-small", message).on_page(page).at(source.len()));
    }
    let mut bytes = [0; META_END];
    source.read_exact_at(&mut bytes, offset).map_err(|error| unreadable(&error).on_page(page).at(offset))?;
    Meta::decode(&bytes, page).map_err(|defect| defect.at(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(txid: u64) -> Meta {
        Meta { page_size: 4096, root: 4, sequence: 0, freelist: PGID_NO_FREELIST, high_water_mark: 5, txid }
    }

    fn stored_checksum(page: &[u8]) -> u64 {
        u64_at(page, META + META_CHECKSUM).unwrap()
    }

    #[test]
    fn the_checksum_is_the_one_that_bbolt_computes() {
        assert_eq!(stored_checksum(&example(14).encode(0)), 0x9d37_ee3d_f4e8_ef0c);
        assert_eq!(stored_checksum(&example(13).encode(1)), 0xfa28_4359_15b6_cd6f);
    }

    #[test]
    fn a_meta_survives_its_page() {
        let meta = Meta { page_size: 16384, root: 7, sequence: 9, freelist: 3, high_water_mark: 100, txid: 1 << 40 };
        let page = meta.encode(1);
        assert_eq!(page.len(), 16384);
        assert_eq!(Meta::decode(&page, 1), Ok(meta));
    }

    #[test]
    fn every_single_flipped_bit_of_a_meta_is_noticed() {
        let page = example(14).encode(0);
        for bit in 0..META_SIZE * 8 {
            let mut bent = page.clone();
            bent[META + bit / 8] ^= 1 << (bit % 8);
            let code = Meta::decode(&bent, 0).unwrap_err().code;
            assert!(["meta-magic", "meta-version", "meta-checksum"].contains(&code), "{bit}: {code}");
        }
    }

    #[test]
    fn the_valid_meta_with_the_higher_txid_is_chosen() {
        for (first, second, winner) in [(14, 13, 14), (14, 15, 15), (14, 14, 14)] {
            let file = [example(first).encode(0), example(second).encode(1)].concat();
            assert_eq!(choose(&file).unwrap().meta.txid, winner);
        }
    }

    #[test]
    fn a_broken_meta_0_leaves_meta_1_findable_at_every_page_size() {
        for page_size in page_sizes() {
            let meta = Meta { page_size, ..example(13) };
            let file = [vec![0; page_size as usize], meta.encode(1)].concat();
            let chosen = choose(&file).unwrap();
            assert_eq!(chosen.meta, meta);
            assert_eq!(chosen.other.unwrap_err().code, "meta-magic");
        }
    }

    #[test]
    fn a_meta_1_of_another_page_size_is_invalid() {
        let other = Meta { page_size: 8192, ..example(15) };
        let file = [example(14).encode(0), other.encode(1)].concat();
        let chosen = choose(&file).unwrap();
        assert_eq!((chosen.meta.txid, chosen.other.unwrap_err().code), (14, "meta-page-size"));
    }

    #[test]
    fn page_sizes_that_are_none_are_refused() {
        for page_size in [0, 1, 256, 513, 4097, 32 << 20, u32::MAX] {
            let mut page = example(1).encode(0);
            put(&mut page, META + META_PAGE_SIZE, &page_size.to_le_bytes());
            let sum = checksum(&page[META..META_END]);
            put(&mut page, META + META_CHECKSUM, &sum.to_le_bytes());
            assert_eq!(Meta::decode(&page, 0).unwrap_err().code, "meta-page-size");
        }
    }

    #[test]
    fn two_broken_metas_are_both_reported() {
        let codes: Vec<_> = choose(&vec![0; 8192]).unwrap_err().into_iter().map(|defect| defect.code).collect();
        assert_eq!(codes, ["meta-magic", "meta-missing"]);
        let codes: Vec<_> = choose(&vec![0; 79]).unwrap_err().into_iter().map(|defect| defect.code).collect();
        assert_eq!(codes, ["database-too-small", "meta-missing"]);
    }
}
