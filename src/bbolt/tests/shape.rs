//! What bbolt's writer takes for granted of a tree, though its reader gets along without: each is asked for, whoever
//! reads the leaves.

use super::super::build;
use super::super::encode::{Item, branch_image, leaf_image, seal};
use super::super::layout::{BRANCH_PAGE_FLAG, LEAF_PAGE_FLAG, PAGE_COUNT, u16_at, u32_at};
use super::hostile::file;
use super::{Buckets, codes, element, judge, pages_with};

const SIZE: usize = 512;

/// Bucket `key` of four levels, whose keys have room between them.
fn sparse_keys() -> Vec<u8> {
    let key = (1..6_000_u32).map(|number| ((number * 16).to_be_bytes().to_vec(), vec![7; 20])).collect();
    build(512, &Buckets::from([(b"key".to_vec(), key)]))
}

#[test]
fn the_key_of_a_branch_is_the_first_one_below_it() {
    let good = sparse_keys();
    let (mut trees, mut below) = (0, 0);
    for page in pages_with(&good, SIZE, BRANCH_PAGE_FLAG) {
        for index in 0..usize::from(u16_at(&good, page * SIZE + PAGE_COUNT).unwrap()).min(3) {
            let at = element(page * SIZE, index);
            let at = at + u32_at(&good, at).unwrap() as usize;
            let mut bytes = good.clone();
            bytes[at + 3] -= 1;
            let (seen, _) = judge(&bytes).unwrap();
            // That of the first child is the first key of its own branch, too.
            let expected = if index == 0 { vec!["key-below-branch", "branch-key"] } else { vec!["branch-key"] };
            if seen.codes() != ["branch-key"] {
                assert_eq!(expected, seen.codes(), "key {index} of page {page}");
                below += 1;
            }
            assert_eq!(5_999, seen.buckets[b"key".as_slice()].len());
            trees += 1;
        }
    }
    // Above the root's first key there is none.
    assert!(trees > 60 && below > 20, "{trees} {below}");
}

#[test]
fn a_leaf_that_begins_behind_the_key_of_its_branch_is_told_of() {
    let good = sparse_keys();
    let leaf = pages_with(&good, SIZE, LEAF_PAGE_FLAG)[40] * SIZE;
    let at = element(leaf, 0);
    let mut bytes = good.clone();
    bytes[at + u32_at(&good, at + 4).unwrap() as usize + 3] += 1;

    let (seen, _) = judge(&bytes).unwrap();

    assert_eq!(["branch-key"].as_slice(), seen.codes());
    assert_eq!(Some((leaf / SIZE) as u64), seen.defects[0].page);
    assert!(seen.defects[0].message.contains("the first key[0] on leaf page needs to be = the key in the ancestor"));
}

/// A tree to be written down by hand.
enum Node {
    Leaf(Vec<u8>),
    Branch(Vec<Self>),
}

impl Node {
    /// Appends its pages, and gives its first key and its page.
    fn write(&self, bytes: &mut Vec<u8>, before: u8) -> (Vec<u8>, u64) {
        let (first, image) = match self {
            Self::Leaf(keys) => {
                let keys: Vec<[u8; 1]> = keys.iter().map(|key| [*key]).collect();
                let items: Vec<_> = keys.iter().map(|key| Item::entry(key, b"value")).collect();
                // Where it has no key of its own, one that fits.
                (keys.first().map_or(vec![before + 9, 1], |key| key.to_vec()), leaf_image(&items).unwrap())
            }
            Self::Branch(nodes) => {
                let mut before = before;
                let children: Vec<_> = nodes
                    .iter()
                    .map(|node| {
                        let written = node.write(bytes, before);
                        before = written.0[0];
                        written
                    })
                    .collect();
                let borrowed: Vec<_> = children.iter().map(|(key, page)| (key.as_slice(), *page)).collect();
                (children[0].0.clone(), branch_image(&borrowed).unwrap())
            }
        };
        let number = (bytes.len() / SIZE) as u64;
        bytes.extend(seal(image, number, SIZE).unwrap());
        (first, number)
    }

    /// Codes of what is wrong with a database that has this tree for its only bucket, each once.
    fn codes(&self) -> Vec<&'static str> {
        let mut bytes = vec![0; 2 * SIZE];
        let (_, root) = self.write(&mut bytes, 0);
        codes(&file(bytes, root))
    }
}

fn leaf(keys: std::ops::Range<u8>) -> Node {
    Node::Leaf(keys.collect())
}

fn branch<const N: usize>(nodes: [Node; N]) -> Node {
    Node::Branch(nodes.into())
}

/// A branch of two leaves with ten keys from `first` on.
fn pair(first: u8) -> Node {
    branch([leaf(first..first + 5), leaf(first + 5..first + 10)])
}

#[test]
fn trees_that_bbolt_writes_are_sound_and_so_is_an_empty_root() {
    let wide = branch([branch([pair(10), pair(20)]), branch([pair(30), pair(40)])]);
    for tree in [leaf(10..15), leaf(0..0), pair(10), branch([pair(10), pair(20), pair(30)]), wide] {
        assert_eq!([] as [&str; 0], tree.codes().as_slice());
    }
}

#[test]
fn a_leaf_below_a_branch_is_not_empty() {
    for tree in [
        branch([leaf(0..0), leaf(10..15)]),
        branch([leaf(10..15), leaf(0..0)]),
        branch([pair(10), branch([leaf(20..25), leaf(0..0)]), pair(30)]),
        branch([pair(10), branch([leaf(0..0), leaf(20..25)])]),
    ] {
        assert_eq!(["page-empty-leaf"].as_slice(), tree.codes());
    }
}

#[test]
fn a_branch_has_two_children() {
    for tree in [
        branch([leaf(10..15)]),
        branch([pair(10)]),
        branch([pair(10), branch([leaf(20..25)])]),
        branch([branch([leaf(10..15)]), pair(20), pair(30)]),
        branch([branch([pair(10), pair(20)]), branch([pair(30)])]),
    ] {
        assert_eq!(["page-single-child"].as_slice(), tree.codes());
    }
}

#[test]
fn all_leaves_of_a_tree_are_at_one_level() {
    for tree in [
        branch([leaf(10..15), pair(20)]),
        branch([pair(10), leaf(20..25), pair(30)]),
        branch([branch([leaf(10..15), pair(20)]), branch([pair(30), pair(40)])]),
        branch([pair(10), branch([pair(20), pair(30)])]),
        branch([branch([pair(10), pair(20)]), pair(30)]),
    ] {
        let mut codes = tree.codes();
        codes.dedup();
        assert_eq!(["page-leaf-depth"].as_slice(), codes);
    }
}
