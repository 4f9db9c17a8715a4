"""Which columns look as if they held paths of files, or such files' keys in a store.

A guess by name and type, which ``dsar coverage`` gives as advice; nothing is exported by it.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from backend.services.base_types import Kind, stored_type
from backend.services.telling_names import listed, words

# The last word of a name that says so by itself.
_PATHS: Final = listed(
    en="path paths filepath filepaths filename filenames pathname objectkey blobkey storagekey",
    de="pfad pfade dateipfad dateiname dateinamen",
    fr="chemin chemins",
)
# The last word of a name of a file, unless the column holds the file itself, as octets.
_FILES: Final = listed(
    en="""
        file files attachment attachments upload uploads avatar photo photos picture pictures image
        images thumbnail scan scans pdf recording voicemail
    """,
    de="datei dateien anhang anhaenge foto fotos bild bilder lichtbild",
    fr="fichier fichiers piecejointe image",
    es="archivo archivos adjunto adjuntos imagen imagenes",
)
# Before ``key`` or ``name``: storage_key, file_name.
_KEPT: Final = _FILES | listed(en="storage object blob s3 bucket media document")
_NAMED: Final = _FILES | listed(en="blob")
# Such a word anywhere: the column holds no path, or that of no file.
_OTHER: Final = listed(
    en="""
        url urls uri link href mime request http api route json tree category page cookie redirect
        referrer referer breadcrumb materialized node parent
    """
)


def looks_like_paths(name: str, kind: Kind) -> bool:
    """Whether a column of that name and type may name files."""
    stored = stored_type(kind)
    if isinstance(stored, sa.ARRAY):
        stored = stored_type(stored.item_type)
    octets = isinstance(stored, sa.types._Binary)
    texts = isinstance(stored, (sa.String, sa.JSON)) and not isinstance(stored, sa.Enum)
    return (texts or octets) and _named_so(words(name), octets=octets)


def _named_so(found: list[str], *, octets: bool) -> bool:
    if not found or _OTHER.intersection(found):
        return False
    last, before = found[-1], found[-2] if len(found) > 1 else ""
    if (
        last in _PATHS
        or (last == "key" and before in _KEPT)
        or (last == "name" and before in _NAMED)
    ):
        return True
    return not octets and (last in _FILES or before + last in _FILES)
