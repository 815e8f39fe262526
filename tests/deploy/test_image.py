"""The Dockerfile's build steps work in a clean folder with what is copied into the image, and nothing else."""

import fnmatch
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from hub import BINARY, ROOT

# After `make build` cargo finds all of it built, if all of its files are there; one that is missing or newer is
# built with what depends on it.
BUILD_SECONDS_MAX = 900


def instructions():
    """The Dockerfile's instructions, lines joined, as `(word, rest)`."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def stages():
    """The instructions of each stage, by its name; the last one has none."""
    found = {}
    for word, rest in instructions():
        if word == "FROM":
            stage = found.setdefault(rest.partition(" AS ")[2], [])
        stage.append((word, rest))
    return found


def build_context():
    """Files of the repository that .dockerignore lets in: the last pattern that fits decides."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )

    def fits(path, pattern):
        """A star stands for anything but a slash."""
        names, wanted = path.split("/"), pattern.removeprefix("!").split("/")
        return len(names) == len(wanted) and all(map(fnmatch.fnmatchcase, names, wanted))

    def is_let_in(path):
        # A pattern that fits a folder fits what is in it.
        folders = [path, *map(str, Path(path).parents)]
        let_in = True
        for pattern in patterns:
            if any(fits(folder, pattern) for folder in folders):
                let_in = pattern.startswith("!")
        return let_in

    return [path for path in listed.stdout.splitlines() if is_let_in(path) and (ROOT / path).is_file()]


class Image(unittest.TestCase):
    def test_the_build_needs_nothing_else(self):
        """Replays the shell commands of the build stage, with the target directory of this checkout."""
        # Inside of target/, with the files' own times: cargo sees what has not changed since `make build`.
        folder = ROOT / "target" / "image"
        shutil.rmtree(folder, ignore_errors=True)
        source, out = folder / "src", folder / "out"
        context = build_context()
        self.assertIn("src/main.rs", context)
        self.assertNotIn("README.md", context)
        for path in context:
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, source / path)
        (source / "target").symlink_to(ROOT / "target")
        build = stages()["build"]
        self.assertEqual([rest for word, rest in build if word == "COPY"], [". ."])
        for word, rest in build:
            if word == "RUN":
                command = re.sub(r"--mount=\S+", "", rest).replace(" /out/", f" {out}/")
                self.assertTrue(command.strip().startswith("cargo build --release --locked "), command)
                subprocess.run(["sh", "-euc", command], cwd=source, check=True, timeout=BUILD_SECONDS_MAX)
        # What the last stage copies is there, and runs.
        for word, rest in stages()[""]:
            if word == "COPY":
                *origins, _ = rest.removeprefix("--from=build ").split()
                for origin in origins:
                    here = Path(origin.replace("/src/", f"{source}/").replace("/out/", f"{out}/"))
                    self.assertTrue(here.is_file(), origin)
        done = subprocess.run([out / "fanfare", "version"], capture_output=True, text=True)
        self.assertRegex(done.stdout, r"^fanfare \d+\.\d+\.\d+\n$")
        print(f"stripped binary: {os.path.getsize(out / 'fanfare') / 2**20:.1f} MiB")

    def test_it_needs_only_the_libraries_of_the_base(self):
        """distroless/cc has the C library and libgcc, and no more."""
        done = subprocess.run(["ldd", BINARY], check=True, capture_output=True, text=True)
        names = {line.split()[0].split("/")[-1] for line in done.stdout.splitlines()}
        self.assertLessEqual(names, {"linux-vdso.so.1", "libgcc_s.so.1", "libm.so.6", "libc.so.6", "ld-linux-x86-64.so.2",
                                     "libpthread.so.0", "libdl.so.2", "ld-linux-aarch64.so.1"})

    def test_bases_are_pinned(self):
        for name, found in stages().items():
            self.assertRegex(found[0][1], r"^\S+:\S+@sha256:[0-9a-f]{64}( AS \w+)?$", name)

    def test_it_says_how_it_is_run(self):
        last = dict(stages()[""])
        self.assertEqual(last["USER"], "65532:65532")
        self.assertEqual(last["STOPSIGNAL"], "SIGTERM")
        self.assertIn("HEALTHCHECK", last)
        version = re.search(r'(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
        self.assertIn(("ARG", f"VERSION={version}"), stages()[""])
        toolchain = re.search(r'(?m)^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
        self.assertTrue(stages()["build"][0][1].startswith(f"rust:{toolchain}-"))


if __name__ == "__main__":
    unittest.main()
