//! A B+tree that grows at its right edge only.

use std::io::{self, Seek, Write};

use super::super::layout::{
    BRANCH_KSIZE, BRANCH_PAGE_FLAG, BRANCH_PGID, BRANCH_POS, BUCKET_HEADER_SIZE, BUCKET_ROOT, BUCKET_SEQUENCE,
    ELEMENT_SIZE, LEAF_FLAGS, LEAF_KSIZE, LEAF_PAGE_FLAG, LEAF_POS, LEAF_VSIZE, MAX_ELEMENTS, MAX_KEY_SIZE, MAX_SPAN,
    PAGE_HEADER_SIZE, put,
};
use super::super::page::Header;
use super::output::Output;

/// How full pages get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    pub(super) page_size: usize,
    /// Bytes that a page of one page size is filled with at most.
    pub(super) limit: usize,
    /// Bytes that an inline bucket's page takes at most.
    pub(super) inline: usize,
}

impl Fill {
    /// Whether `size` more bytes belong on a page that `used` bytes are on. Where a page overflows, what is left of
    /// its last page costs nothing.
    fn fits(self, used: usize, size: usize) -> bool {
        let limit = if used > self.page_size { used.next_multiple_of(self.page_size) } else { self.limit };
        used + size <= limit
    }
}

/// bbolt's `common.MinKeysPerPage`: what a page has at least before another one is begun.
const MIN_KEYS: usize = 2;

/// Where the elements of a bucket went.
pub(super) enum Ended {
    /// A tree with this root page.
    Tree(u64),
    /// The image of a leaf, for the bucket's value.
    Inline(Vec<u8>),
}

/// The open pages of a tree, from the leaf up.
pub(super) struct Tree {
    fill: Fill,
    leaf: Leaf,
    branches: Vec<Branch>,
    last_key: Vec<u8>,
}

impl Tree {
    pub(super) fn new(fill: Fill) -> Self {
        Self { fill, leaf: Leaf::default(), branches: Vec::new(), last_key: Vec::new() }
    }

    /// Appends an element.
    pub(super) fn push<W: Write + Seek>(
        &mut self,
        out: &mut Output<W>,
        flags: u32,
        key: &[u8],
        value: &[&[u8]],
    ) -> io::Result<()> {
        if key.is_empty() || key.len() > MAX_KEY_SIZE {
            return Err(invalid(format!("a key of {} bytes, not 1 to {MAX_KEY_SIZE}", key.len())));
        }
        // An empty key is less than every key.
        if key <= self.last_key.as_slice() {
            return Err(invalid("the keys of a bucket do not ascend".to_owned()));
        }
        let length = value.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        let size = ELEMENT_SIZE.saturating_add(key.len()).saturating_add(length);
        if PAGE_HEADER_SIZE.saturating_add(size) as u64 > MAX_SPAN {
            return Err(invalid(format!("an entry of {size} bytes for one page, which holds {MAX_SPAN}")));
        }
        if !self.leaf.takes(self.fill, size) {
            let child = self.leaf.flush(out)?;
            self.climb(out, 0, child)?;
        }
        self.leaf.push(flags, key, value, length);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    /// Writes what is open, and is empty again.
    pub(super) fn end<W: Write + Seek>(&mut self, out: &mut Output<W>, inline: bool) -> io::Result<Ended> {
        self.last_key.clear();
        if self.branches.is_empty() {
            if inline && self.leaf.used() <= self.fill.inline {
                return Ok(Ended::Inline(self.leaf.image()));
            }
            return Ok(Ended::Tree(self.leaf.flush(out)?.pgid));
        }
        let mut child = self.leaf.flush(out)?;
        let (mut level, mut root) = (0, child.pgid);
        loop {
            // Taking in its last child may fill a level, and so make one more above it.
            self.climb(out, level, child)?;
            let Some(branch) = self.branches.get_mut(level) else { break };
            child = branch.flush(out, branch.children.len())?;
            root = child.pgid;
            level += 1;
            if level == self.branches.len() {
                break;
            }
        }
        self.branches.clear();
        Ok(Ended::Tree(root))
    }

    /// Puts a page that was written into the open branch of `level`, and where that is full, it into the next.
    fn climb<W: Write + Seek>(&mut self, out: &mut Output<W>, mut level: usize, mut child: Child) -> io::Result<()> {
        loop {
            if level == self.branches.len() {
                self.branches.push(Branch::default());
            }
            let Some(branch) = self.branches.get_mut(level) else { return Ok(()) };
            if branch.takes(self.fill, child.key.len()) {
                branch.push(&child);
                return Ok(());
            }
            // All but the last one, so that the page that is open never ends with a single child.
            let full = branch.flush(out, branch.children.len() - 1)?;
            branch.push(&child);
            child = full;
            level += 1;
        }
    }
}

/// A page that was written.
struct Child {
    /// Its first key.
    key: Vec<u8>,
    pgid: u64,
}

struct Entry {
    flags: u32,
    key: usize,
    value: usize,
}

/// The open leaf.
#[derive(Default)]
struct Leaf {
    entries: Vec<Entry>,
    /// Keys and values, one behind the other.
    data: Vec<u8>,
}

impl Leaf {
    fn used(&self) -> usize {
        PAGE_HEADER_SIZE + self.entries.len() * ELEMENT_SIZE + self.data.len()
    }

    fn takes(&self, fill: Fill, size: usize) -> bool {
        let count = self.entries.len();
        count == 0
            || count < usize::from(MAX_ELEMENTS)
                && (self.used() + size) as u64 <= MAX_SPAN
                && (count < MIN_KEYS || fill.fits(self.used(), size))
    }

    fn push(&mut self, flags: u32, key: &[u8], value: &[&[u8]], length: usize) {
        self.entries.push(Entry { flags, key: key.len(), value: length });
        self.data.extend_from_slice(key);
        for part in value {
            self.data.extend_from_slice(part);
        }
    }

    fn flush<W: Write + Seek>(&mut self, out: &mut Output<W>) -> io::Result<Child> {
        let pgid = out.begin(LEAF_PAGE_FLAG, count(self.entries.len()));
        self.table(&mut |element| out.put(element));
        out.put(&self.data);
        out.end()?;
        let first = self.entries.first().map_or(0, |entry| entry.key);
        let key = self.data.get(..first).unwrap_or_default().to_vec();
        self.clear();
        Ok(Child { key, pgid })
    }

    /// The page as an inline bucket has it: number 0, no padding.
    fn image(&mut self) -> Vec<u8> {
        let mut image = vec![0; PAGE_HEADER_SIZE];
        Header { id: 0, flags: LEAF_PAGE_FLAG, count: count(self.entries.len()), overflow: 0 }.encode(&mut image);
        self.table(&mut |element| image.extend_from_slice(element));
        image.extend_from_slice(&self.data);
        self.clear();
        image
    }

    fn table(&self, write: &mut dyn FnMut(&[u8])) {
        let mut pos = self.entries.len() * ELEMENT_SIZE;
        for entry in &self.entries {
            let mut element = [0; ELEMENT_SIZE];
            put(&mut element, LEAF_FLAGS, &entry.flags.to_le_bytes());
            put(&mut element, LEAF_POS, &field(pos));
            put(&mut element, LEAF_KSIZE, &field(entry.key));
            put(&mut element, LEAF_VSIZE, &field(entry.value));
            write(&element);
            pos = pos + entry.key + entry.value - ELEMENT_SIZE;
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.data.clear();
    }
}

/// An open branch.
#[derive(Default)]
struct Branch {
    /// Length of the key, and number of the page.
    children: Vec<(usize, u64)>,
    keys: Vec<u8>,
}

impl Branch {
    /// Whether a child with a key of `key` bytes belongs on the page; one more than is written stays open.
    fn takes(&self, fill: Fill, key: usize) -> bool {
        let used = PAGE_HEADER_SIZE + self.children.len() * ELEMENT_SIZE + self.keys.len();
        let count = self.children.len();
        count < usize::from(MAX_ELEMENTS) && (count <= MIN_KEYS || fill.fits(used, ELEMENT_SIZE + key))
    }

    fn push(&mut self, child: &Child) {
        self.children.push((child.key.len(), child.pgid));
        self.keys.extend_from_slice(&child.key);
    }

    /// Writes the first `written` children.
    fn flush<W: Write + Seek>(&mut self, out: &mut Output<W>, written: usize) -> io::Result<Child> {
        let pgid = out.begin(BRANCH_PAGE_FLAG, count(written));
        let (mut pos, mut length) = (written * ELEMENT_SIZE, 0);
        for (key, child) in self.children.iter().take(written) {
            let mut element = [0; ELEMENT_SIZE];
            put(&mut element, BRANCH_POS, &field(pos));
            put(&mut element, BRANCH_KSIZE, &field(*key));
            put(&mut element, BRANCH_PGID, &child.to_le_bytes());
            out.put(&element);
            pos = pos + key - ELEMENT_SIZE;
            length += key;
        }
        out.put(self.keys.get(..length).unwrap_or_default());
        out.end()?;
        let first = self.children.first().map_or(0, |(key, _)| *key);
        let key = self.keys.get(..first).unwrap_or_default().to_vec();
        self.children.drain(..written.min(self.children.len()));
        self.keys.drain(..length.min(self.keys.len()));
        Ok(Child { key, pgid })
    }
}

/// The value of a bucket.
pub(super) fn bucket_value(ended: &Ended, sequence: u64) -> Vec<u8> {
    let (root, image) = match ended {
        Ended::Tree(root) => (*root, &[][..]),
        Ended::Inline(image) => (0, image.as_slice()),
    };
    let mut value = vec![0; BUCKET_HEADER_SIZE];
    put(&mut value, BUCKET_ROOT, &root.to_le_bytes());
    put(&mut value, BUCKET_SEQUENCE, &sequence.to_le_bytes());
    value.extend_from_slice(image);
    value
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Pages are closed at [`MAX_ELEMENTS`].
fn count(elements: usize) -> u16 {
    u16::try_from(elements).unwrap_or(MAX_ELEMENTS)
}

/// Positions and lengths lie within [`MAX_SPAN`].
fn field(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}
