//! Archives that were made to do harm, and files that are none.

use super::super::layout::{BLOCK_LEN, GZIP_MAGIC, TAR_BLOCK, TAR_MAGIC, USTAR};
use super::super::tar_header;
use super::*;

/// A tar without the end marker, which [`end`] adds.
#[derive(Default, Clone)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, name: &[u8], kind: u8, body: &[u8]) -> Self {
        self = self.header(name, kind, body.len() as u64);
        self.0.extend(body);
        self.0.resize(self.0.len().next_multiple_of(TAR_BLOCK), 0);
        self
    }

    /// A header with anything in it, its checksum right.
    fn header(mut self, name: &[u8], kind: u8, size: u64) -> Self {
        let mut header = tar::Header::from_byte_slice(&tar_header::render("x", size, 0).unwrap()).clone();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[156] = kind;
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut body = String::new();
        for (key, value) in records {
            let rest = format!(" {key}={value}\n");
            let len = (1..1000).find(|len: &usize| len.to_string().len() + rest.len() == *len).unwrap();
            body.push_str(&len.to_string());
            body.push_str(&rest);
        }
        self.entry(b"PaxHeaders/x", b'x', body.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * TAR_BLOCK, 0);
        self.0
    }
}

fn good() -> Tar {
    Tar::default().entry(b"etcd_snapshot.db", b'0', &snapshot(4096))
}

#[test]
fn the_tar_that_the_attacks_start_from_is_accepted() {
    assert!(read(&good().end()).is_ok());
    assert!(read(&good().entry(b"manifest.json", b'0', &manifest_text()).end()).is_ok());
    assert!(
        read(
            &Tar::default()
                .entry(b"./manifest.json", b'0', &manifest_text())
                .entry(b"./etcd_snapshot.db", 0, &snapshot(512))
                .end()
        )
        .is_ok()
    );
}

#[test]
fn entries_that_lead_out_of_the_archive_are_refused() {
    for name in [b"../etcd_snapshot.db".as_slice(), b"/etcd_snapshot.db", b"a/../../b", b"./../etcd_snapshot.db", b".."]
    {
        assert_eq!("tar-entry-path", defect(&Tar::default().entry(name, b'0', &snapshot(512)).end()));
        assert_eq!("tar-entry-path", defect(&good().entry(name, b'0', b"x").end()));
    }
    let records = [("path", "../etcd_snapshot.db")];
    assert_eq!("tar-entry-path", defect(&Tar::default().pax(&records).entry(b"etcd_snapshot.db", b'0', b"").end()));
    let long = Tar::default().entry(b"././@LongLink", b'L', b"/etc/passwd\0").entry(b"etcd_snapshot.db", b'0', b"");
    assert_eq!("tar-entry-path", defect(&long.end()));
}

#[test]
fn links_devices_pipes_and_directories_are_refused() {
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'S', b'V', b'M', b'Z', 0xff] {
        assert_eq!("tar-entry-type", defect(&Tar::default().entry(b"etcd_snapshot.db", kind, b"").end()), "{kind}");
        assert_eq!("tar-entry-type", defect(&good().entry(b"manifest.json", kind, b"").end()), "{kind}");
    }
    let sparse = Tar::default().pax(&[("GNU.sparse.major", "1")]).entry(b"etcd_snapshot.db", b'0', b"");
    assert_eq!("tar-entry-type", defect(&sparse.end()));
}

#[test]
fn a_second_entry_of_a_name_is_refused() {
    assert_eq!("tar-entry-twice", defect(&good().entry(b"etcd_snapshot.db", b'0', &snapshot(512)).end()));
    assert_eq!("tar-entry-twice", defect(&good().entry(b"./etcd_snapshot.db", b'0', b"").end()));
    let manifest = manifest_text();
    let twice = good().entry(b"manifest.json", b'0', &manifest).entry(b"manifest.json", b'0', &manifest);
    assert_eq!("tar-entry-twice", defect(&twice.end()));
}

#[test]
fn unknown_entries_beside_the_snapshot_are_refused() {
    for name in [b"extra".as_slice(), b"etcd_snapshot.db/", b"etcd_snapshot.dbx", b"sub/etcd_snapshot.db", b".", b""] {
        assert_eq!("tar-entry-unknown", defect(&good().entry(name, b'0', b"x").end()));
    }
}

#[test]
fn a_tar_of_something_else_is_not_a_snapshot() {
    let reason = reason(&Tar::default().entry(b"notes\x1b[2J.txt", b'0', b"x").end());
    assert_eq!("the tar holds \"notes\\u{1b}[2J.txt\", a file, where etcd_snapshot.db should be", reason);
    assert_eq!(
        "the tar holds no etcd_snapshot.db",
        super::reason(&Tar::default().entry(b"manifest.json", b'0', &manifest_text()).end())
    );
    assert!(super::reason(&Tar::default().end()).starts_with("it starts with zeros"));
    assert!(super::reason(&gzip(b"")).ends_with("it is empty"));
    assert!(super::reason(&zstd(b"hello")).contains("text"));
    assert!(super::reason(&gzip(&gzip(b"hello"))).contains("another gzip stream"));
    assert_eq!("it is empty", super::reason(b""));
}

#[test]
fn sizes_beyond_what_is_there_or_allowed_are_refused_without_being_believed() {
    let huge = i64::MAX as u64;
    assert_eq!("truncated", defect(&Tar::default().header(b"etcd_snapshot.db", b'0', huge).end()));
    assert_eq!("tar-entry-size", defect(&good().header(b"manifest.json", b'0', huge).end()));
    assert_eq!("tar-entry-size", defect(&good().header(b"manifest.json", b'0', (16 << 20) + 1).end()));
    assert_eq!("truncated", defect(&good().header(b"manifest.json", b'0', 16 << 20).end()));
    for kind in [b'x', b'L', b'K', b'g'] {
        assert_eq!("tar-entry-size", defect(&Tar::default().header(b"x", kind, huge).end()));
        assert_eq!("truncated", defect(&Tar::default().header(b"x", kind, 1 << 20).end()));
    }
    let size = huge.to_string();
    let tar = Tar::default().pax(&[("size", size.as_str())]).entry(b"etcd_snapshot.db", b'0', b"");
    assert_eq!("truncated", defect(&tar.end()));
}

#[test]
fn extension_records_that_readers_take_differently_are_refused() {
    let size = [("size", "0")];
    assert_eq!("tar-header", defect(&Tar::default().pax(&size).pax(&size).entry(b"etcd_snapshot.db", b'0', b"").end()));
    assert_eq!("tar-header", defect(&good().pax(&size).end()));
    assert_eq!("tar-header", defect(&good().entry(b"x", b'L', b"manifest.json\0").end()));
    assert_eq!("tar-header", defect(&Tar::default().entry(b"g", b'g', b"12 path=abc\n").0));
    assert_eq!("tar-header", defect(&Tar::default().entry(b"x", b'x', b"99 path=abc\n").0));
    let comment = Tar::default().entry(b"g", b'g', b"11 a=bcdef\n").entry(b"etcd_snapshot.db", b'0', &snapshot(512));
    assert!(read(&comment.end()).is_ok());
}

#[test]
fn a_stream_of_headers_without_end_is_refused() {
    let mut tar = Tar::default();
    for _ in 0..100 {
        tar = tar.entry(b"g", b'g', b"");
    }
    assert_eq!("tar-header", defect(&tar.end()));
}

#[test]
fn headers_padding_and_end_marker_must_be_right() {
    let mut checksum = good().end();
    checksum[0] = b'E';
    assert_eq!("tar-header", defect(&checksum));
    let mut padding = good().end();
    padding[TAR_BLOCK + 4096 + 32] = 1;
    assert_eq!("tar-padding", defect(&padding));
    assert_eq!("truncated", defect(&good().0));
    let mut lone = good().0;
    lone.resize(lone.len() + TAR_BLOCK, 0);
    assert_eq!("truncated", defect(&lone));
    lone.extend(Tar::default().header(b"manifest.json", b'0', 0).0);
    assert_eq!("tar-end", defect(&lone));
    let mut trailing = good().end();
    trailing.resize(trailing.len().next_multiple_of(10240), 0);
    assert!(read(&trailing).is_ok());
    trailing.push(1);
    assert_eq!("tar-trailing", defect(&trailing));
}

#[test]
fn endless_zeros_behind_the_end_are_refused() {
    let mut tar = good().end();
    tar.resize(tar.len() + (32 << 20), 0);
    assert_eq!("tar-trailing", defect(&gzip(&tar)));
    assert_eq!("tar-trailing", defect(&zstd(&tar)));
}

#[test]
fn manifests_that_cannot_be_read_are_refused() {
    assert_eq!("manifest-syntax", defect(&good().entry(b"manifest.json", b'0', b"{").end()));
    let newer = String::from_utf8(manifest_text()).unwrap().replace("\"format_version\":1", "\"format_version\":7");
    assert_eq!("manifest-version", defect(&good().entry(b"manifest.json", b'0', newer.as_bytes()).end()));
}

#[test]
fn a_name_in_the_prefix_field_counts() {
    let mut header = tar::Header::from_byte_slice(&tar_header::render("etcd_snapshot.db", 0, 0).unwrap()).clone();
    header.as_mut_bytes()[TAR_MAGIC].copy_from_slice(USTAR);
    header.as_mut_bytes()[345..347].copy_from_slice(b"..");
    header.set_cksum();
    assert_eq!("tar-entry-path", defect(&Tar(header.as_bytes().to_vec()).end()));
}

#[test]
fn gzip_headers_with_everything_in_them_are_read_and_wrong_ones_refused() {
    let tar = good().end();
    let plain = gzip(&tar);
    let mut header = vec![GZIP_MAGIC[0], GZIP_MAGIC[1], 8, 0b11110, 1, 2, 3, 4, 0, 3, 3, 0, b'e', b'x', b't'];
    header.extend(b"name\0comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    header.extend(&crc.sum().to_le_bytes()[..2]);
    let full = [header.as_slice(), &plain[10..]].concat();
    assert!(read(&full).is_ok());

    for (at, bit, code) in
        [(4, 1, "gzip-header"), (2, 1, "gzip-header"), (3, 0x80, "gzip-header"), (16, 1, "gzip-header")]
    {
        let mut wrong = full.clone();
        wrong[at] ^= bit;
        assert_eq!(code, defect(&wrong), "byte {at}");
    }
}

#[test]
fn members_and_frames_one_behind_the_other_are_one_stream() {
    let tar = good().end();
    for cut in [0, 1, 700, tar.len() - 1, tar.len()] {
        let (first, second) = tar.split_at(cut);
        assert!(read(&[gzip(first), gzip(second)].concat()).is_ok(), "{cut}");
        let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        assert!(read(&[skippable.to_vec(), zstd(first), skippable.to_vec(), zstd(second)].concat()).is_ok(), "{cut}");
    }
    let mut wrong = [gzip(&tar[..700]), gzip(&tar[700..])].concat();
    let at = gzip(&tar[..700]).len() - 1;
    wrong[at] ^= 1;
    assert_eq!("gzip-length", defect(&wrong));
}

#[test]
fn a_zstd_window_beyond_the_limit_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    std::io::Write::write_all(&mut encoder, &good().end()).unwrap();
    let error = read(&encoder.finish().unwrap()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn any_bytes_behind_any_magic_are_refused_without_harm() {
    let noise = snapshot(BLOCK_LEN).split_off(64);
    for magic in
        [b"\x1f\x8b\x08\0\0\0\0\0\0\0".as_slice(), b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"etcd_snapshot.db"]
    {
        for skip in 0..200 {
            let bytes = [magic, &noise[skip..]].concat();
            assert!(read(&bytes).is_err());
            assert!(read(&bytes[..magic.len() + skip]).is_err());
        }
    }
}
