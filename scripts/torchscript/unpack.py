"""Takes libtorch's headers and the libraries that a CPU needs out of wheels: `unpack.py WHEELS INTO`."""

import sys
import zipfile
from pathlib import Path, PurePosixPath

LIBRARIES = {"libc10.so", "libtorch_cpu.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}


def target(name: str, into: Path) -> Path | None:
    path = PurePosixPath(name)
    if path.name in LIBRARIES:
        return into / "lib" / path.name
    inside = path.parts[:2] == ("torch", "include") and ".." not in path.parts
    return into / PurePosixPath(*path.parts[1:]) if inside and not name.endswith("/") else None


def main() -> None:
    wheels, into = Path(sys.argv[1]), Path(sys.argv[2])
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                path = target(name, into)
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(name))
    missing = sorted(name for name in LIBRARIES if not (into / "lib" / name).exists())
    if missing:
        sys.exit(f"the wheels lack {', '.join(missing)}")


if __name__ == "__main__":
    main()
