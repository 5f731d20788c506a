"""`rollcall demo`."""

import tempfile
from importlib.resources import files
from pathlib import Path
from secrets import token_hex

from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, UrlOption, open_client
from app.cli.failures import told_plainly
from app.cli.identify import add_faces, face_table


@told_plainly
def demo(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Try everything in a minute: enrol one person, recognise them, and see a stranger called UNKNOWN.

    The two photos come inside installed packages: Grace Hopper (matplotlib) is enrolled and looked for again in an
    altered copy of her photo; Eileen Collins (scikit-image) is the stranger. The demo person is erased at the end.
    """
    console = Console()
    with tempfile.TemporaryDirectory() as folder, open_client(url, key, Scope.OPERATOR) as client:
        enrolled, probe, stranger = _photos(Path(folder))
        console.print("1. Enrolling Grace Hopper from one photo …")
        person_id = _enroll(client, enrolled)
        try:
            _identify(console, client, probe, stranger)
        finally:
            receipt = client.delete(f"/v1/people/{person_id}")
    console.print(f"3. Erased the demo person: {receipt['templates_deleted']} template(s) deleted.")


def _photos(folder: Path) -> tuple[Path, Path, Path]:
    """The photo to enrol, the same person as another camera might see her, and a stranger."""
    grace = Image.open(str(files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg")).convert("RGB")
    eileen = Image.open(str(files("skimage") / "data" / "astronaut.png")).convert("RGB")
    seen_again = ImageEnhance.Brightness(ImageOps.mirror(grace).resize((300, 354))).enhance(0.7)
    paths = folder / "grace.jpg", folder / "grace_again.jpg", folder / "stranger.jpg"
    for image, path in zip((grace, seen_again, eileen), paths, strict=True):
        image.save(path, quality=90)
    return paths


def _enroll(client: Client, photo: Path) -> str:
    fields = {
        "employee_code": f"DEMO-{token_hex(3)}",
        "name": "Grace Hopper",
        "consent": "true",
        "on_duplicate": "allow",
    }
    return str(client.post_files("/v1/enroll", fields, [("files", photo)])["person"]["id"])


def _identify(console: Console, client: Client, *photos: Path) -> None:
    console.print("2. Asking who is in a darker, mirrored, smaller copy of her photo, and in a stranger's …")
    table = face_table()
    for photo in photos:
        add_faces(table, photo.name, client.post_files("/v1/identify", {}, [("image", photo)]))
    console.print(table)
