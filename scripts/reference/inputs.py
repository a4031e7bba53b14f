#!/usr/bin/env python3
"""Write `crates/data/tests/data/inputs.json`: small files as NumPy and Pillow write them (in hexadecimal), and what these read back.

    python scripts/reference/inputs.py [--check]

Arrays: byte orders, C and Fortran order, all types that are read, versions 1 and 2, archives. Images: each kind of PNG and JPEG that
Pillow writes, as grey or red, green and blue, channel by channel; and images that Pillow resized. Versions: see requirements.txt.
Pixels come from integer formulas, so nothing is drawn at random.
"""

import io

import numpy as np
import PIL
from PIL import Image

from common import finish


def npy(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def arrays():
    """Name → file, shape, numbers in C order."""
    base = np.arange(24).reshape(2, 3, 4)
    made = {f"{kind}": (base * 7 - 40 * (kind[1] != "u")).astype(kind) for kind in
            ["|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<u4", "<i4", ">i4", "<u8", "<i8", ">i8", "<f4", ">f4", "<f8", ">f8"]}
    made["boolean"] = base % 3 == 1
    made["fortran"] = np.asfortranarray(base.astype("<i4"))
    made["fortran big"] = np.asfortranarray(base[0].astype(">f8"))
    made["scalar"] = np.array(2.5)
    made["empty"] = np.zeros((0, 5), "<f4")
    made["row"] = np.array([1.5, -0.0, 3e300])
    files = {name: (npy(array), array) for name, array in made.items()}
    files["version 2"] = (npy(base, (2, 0)), base)
    for name, save in {"stored": np.savez, "deflated": np.savez_compressed}.items():
        file = io.BytesIO()
        save(file, x=base.astype("u1"), y=np.array([1, 0]))
        files[name + ".npz"] = (file.getvalue(), base.astype("u1"))
    return [{"name": name, "file": file.hex(), "shape": list(array.shape), "numbers": [float(x) for x in array.ravel()]}
            for name, (file, array) in files.items()]


def picture(height, width, slope):
    """Smooth in three channels, so that formats with losses lose little."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * slope + x * 2, 200 - x * slope, 40 + (x + y) * slope // 2], -1).clip(0, 255).astype("u1")


def images():
    """Name → file, mode it is read in, channels, height, width, pixels channel by channel."""
    rgb = Image.fromarray(picture(9, 13, 9))
    grey = rgb.convert("L")
    rgba = rgb.copy()
    rgba.putalpha(grey)
    la = grey.copy()
    la.putalpha(grey.point(lambda x: 255 - x // 2))
    wide = Image.fromarray((np.arange(35, dtype=np.uint32).reshape(5, 7) * 1777 + 300).astype("u2"))
    made = {
        "grey.png": (grey, {}), "rgb.png": (rgb, {}), "rgba.png": (rgba, {}), "la.png": (la, {}),
        "palette.png": (rgb.quantize(16, dither=0), {}), "bits.png": (grey.convert("1", dither=0), {}), "wide.png": (wide, {}),
        "grey.jpg": (grey, {"quality": 95}),
        "full.jpg": (rgb, {"quality": 95, "subsampling": 0}),
        "progressive.jpg": (rgb, {"quality": 95, "subsampling": 0, "progressive": True}),
        "half.jpg": (rgb, {"quality": 95, "subsampling": 2}),
    }
    out = []
    for name, (image, options) in made.items():
        file = io.BytesIO()
        image.save(file, {"png": "PNG", "jpg": "JPEG"}[name[-3:]], **options)
        back = Image.open(io.BytesIO(file.getvalue()))
        if name == "wide.png":
            pixels = (np.asarray(back).astype("u4") >> 8)[None]
        else:
            grey_like = back.mode in ("L", "LA", "1")
            pixels = np.asarray(back.convert("L" if grey_like else "RGB"))
            pixels = pixels[None] if grey_like else pixels.transpose(2, 0, 1)
        as_grey = [int(x) for x in np.asarray(back.convert("RGB").convert("L")).ravel()] if len(pixels) == 3 else None
        out.append({"name": name, "file": file.getvalue().hex(), "shape": list(pixels.shape),
                    "pixels": [int(x) for x in pixels.ravel()], "grey": as_grey})
    return out


def resized():
    """The grey PNG at other sizes."""
    image = Image.fromarray((np.arange(9 * 13).reshape(9, 13) * 71 % 256).astype("u1"))
    file = io.BytesIO()
    image.save(file, "PNG")
    sizes = [(9, 13), (4, 6), (3, 13), (9, 5), (20, 31), (1, 1), (28, 28), (18, 3)]
    return {"file": file.getvalue().hex(), "to": [
        {"size": list(size), "pixels": [int(x) for x in np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR)).ravel()]}
        for size in sizes]}


made_by = f"scripts/reference/inputs.py, numpy {np.__version__}, Pillow {PIL.__version__}"
finish(__doc__.splitlines()[0], {"crates/data/tests/data/inputs.json": {
    "made_by": made_by, "arrays": arrays(), "images": images(), "resized": resized()}}, 0.0)
