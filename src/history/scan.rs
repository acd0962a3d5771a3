//! Revisions in the order of the file, as many at a time as are wanted.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::index::Places;
use super::range::KeyRange;
use super::store::{Store, Watch, ascend};
use crate::bbolt::Element;
use crate::defect::Defect;
use crate::error::Result;
use crate::progress::Progress;
use crate::schema::{KeyValue, Revision, RevisionKey};

/// An entry of bucket `key`, read where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    /// When the change was made, and whether it was a deletion.
    pub at: RevisionKey,
    /// The version; of a deletion the key alone.
    pub kv: KeyValue<'a>,
}

impl<'a> Stored<'a> {
    pub(super) fn parse(element: &Element<'a>) -> std::result::Result<Self, Defect> {
        let malformed =
            |code| move |message: String| Defect::new(code, message).on_page(element.page).at(element.offset);
        let at = RevisionKey::parse(element.key).map_err(malformed("revision-malformed"))?;
        let kv = KeyValue::parse(element.value).map_err(malformed("value-malformed"))?;
        Ok(Self { at, kv })
    }

    /// Main revision of the change; a deletion is stored without it.
    #[must_use]
    pub fn mod_revision(&self) -> i64 {
        if self.at.tombstone { self.at.revision.main } else { self.kv.mod_revision }
    }
}

/// A pass over the revisions of a store in the order of the file, which can rest.
#[derive(Debug)]
pub struct Scan {
    store: Arc<Store>,
    range: KeyRange,
    /// Of all revisions those that count; `None` when all do.
    places: Option<Places>,
    /// Place of the next entry.
    place: u64,
    /// Where to go on: behind the last entry.
    from: Option<Vec<u8>>,
    last: Option<Revision>,
    /// Main revision of the last changes that count.
    until: i64,
    done: bool,
}

impl Scan {
    /// Every revision in the file of the keys of `range`, deletions too. Needs no index.
    pub fn history(store: Arc<Store>, range: KeyRange) -> Self {
        Self { store, range, places: None, place: 0, from: None, last: None, until: i64::MAX, done: false }
    }

    /// The keys of `range` that were there at `revision`, in the order in which they were last changed.
    ///
    /// # Errors
    /// Those of [`Store::resolve`] and [`Store::index`].
    pub fn live(store: Arc<Store>, range: KeyRange, revision: Option<i64>, progress: &dyn Progress) -> Result<Self> {
        let revision = store.resolve(revision)?;
        let places = store.index(progress)?.live_places(revision, &range);
        Ok(Self { places: Some(places), ..Self::history(store, range) })
    }

    /// The same without the changes after `revision`.
    #[must_use]
    pub fn until(self, revision: i64) -> Self {
        Self { until: revision, ..self }
    }

    /// Hands over entries until `take` breaks off or the last one is through.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) with page and offset; the scan is over then.
    pub fn next(&mut self, progress: &dyn Progress, take: &mut dyn FnMut(Stored<'_>) -> ControlFlow<()>) -> Result<()> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let mut watch = Watch::new(&store, progress);
        let mut rests = None;
        let from = self.from.take();
        store.visit_from(store.key_bucket(), from.as_deref(), &mut |element| {
            watch.step(&element)?;
            let wanted = self.places.as_ref().is_none_or(|places| places.contains(self.place));
            self.place += 1;
            if !wanted {
                return Ok(ControlFlow::Continue(()));
            }
            let stored = Stored::parse(&element).map_err(|defect| store.fail(defect))?;
            ascend(&mut self.last, stored.at.revision, &element).map_err(|defect| store.fail(defect))?;
            if stored.at.revision.main > self.until {
                return Ok(ControlFlow::Break(()));
            }
            if !self.range.contains(stored.kv.key) || take(stored).is_continue() {
                return Ok(ControlFlow::Continue(()));
            }
            rests = Some([element.key, b"\0"].concat());
            Ok(ControlFlow::Break(()))
        })?;
        store.unchanged()?;
        self.done = rests.is_none();
        self.from = rests;
        Ok(())
    }

    /// Whether the last entry is through.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }
}
