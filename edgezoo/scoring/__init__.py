"""Which classes a file gives to many images: decoding beside inference, in constant memory."""

from __future__ import annotations

from edgezoo.scoring.ranks import UNREADABLE, Ranks, rank

__all__ = ["UNREADABLE", "Ranks", "rank"]
