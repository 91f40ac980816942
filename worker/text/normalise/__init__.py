"""Normalisation: cleaned text to the words that are said, every piece with its place in the text.

One scan from left to right; at each character that is not plain Chinese the families are asked in
order, the most specific class first. What nothing can read becomes a `Piece` that says so.
"""

from worker.text.normalise.scan import Normaliser, Piece

__all__ = ["Normaliser", "Piece"]
