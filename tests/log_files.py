"""A member's log on disk, taken apart far enough to be damaged as a loss of power does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECTOR = 512
WORD = 8
_LENGTH = (1 << 56) - 1


class Segment:
    """The newest segment of a log."""

    def __init__(self, data_dir: Path) -> None:
        self.path = max((data_dir / "member/wal").glob("*.wal"))
        self.frames: list[tuple[int, int]] = []
        """Offset and bytes of each frame, the length word among them."""
        content = self.path.read_bytes()
        self.end = 0
        while word := int.from_bytes(content[self.end : self.end + WORD], "little"):
            length = WORD + -(-(word & _LENGTH) // WORD) * WORD
            self.frames.append((self.end, length))
            self.end += length

    def large(self) -> list[int]:
        """Places of the frames that reach over several sectors."""
        return [place for place, (_, length) in enumerate(self.frames) if length > 4 * SECTOR]

    def write(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def tear(self) -> int:
        """Write what a loss of power leaves of a record behind the last one: its beginning, up to a sector's end."""
        offset, length = max(self.frames, key=lambda frame: frame[1])
        written = SECTOR - self.end % SECTOR + SECTOR
        assert length > written + SECTOR
        self.write(self.end, self.read(offset, written))
        return self.end

    def lose_sector(self, place: int) -> int:
        """Blank a whole sector within one of the frames, as a disk does that lies; give the frame's offset."""
        offset, length = self.frames[place]
        sector = -(-(offset + WORD) // SECTOR) * SECTOR
        assert sector + SECTOR <= offset + length
        self.write(sector, bytes(SECTOR))
        return offset

    def forget(self, place: int) -> None:
        """Blank everything from a frame on."""
        offset, _ = self.frames[place]
        self.write(offset, bytes(self.end - offset))
