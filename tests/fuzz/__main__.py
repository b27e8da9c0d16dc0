"""The fuzz targets of native/fuzz, tests/fuzz/hwr.py and tests/fuzz/sip.py (docs/fuzzing.md).

python -m tests.fuzz run --seconds-each 60        every target, as many at once as there are cores; fails on any crash
python -m tests.fuzz coverage                     the share of each parser's lines that its corpus runs; fails below 80 %
python -m tests.fuzz planted                      each target must find the bug that is planted for it
python -m tests.fuzz merge                        what earlier runs found and the corpora lack goes into them
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
CORPUS = NATIVE / "fuzz" / "corpus"
BUILD = ROOT / "build" / "fuzz"
BAR = 0.80
PLANTED_SECONDS = 240


@dataclass(frozen=True)
class Target:
    name: str
    parsers: tuple[str, ...]  # the sources whose lines it must reach, below native/
    writers: str = ""  # functions in them that write and read nothing: not counted
    module: tuple[str, ...] = ()  # of a target in Python: the module that fuzzes it, and its options

    @property
    def corpus(self) -> Path:
        return Path("tests/fuzz/corpus" if "tests.fuzz.sip" in self.module else "native/fuzz/corpus") / self.name


TARGETS = [
    Target(
        "bridge",
        ("core/bridge.cpp", "core/leg.cpp", "core/source.hpp"),
        r"play|Playout|produce|settle|mix|take_leg|put_leg|set_hears|arrange|press|tell_quality|take_event|report",
    ),
    Target("control", ("control/protocol.cpp", "control/leg_fields.cpp"), r"leg_stats|recording_result|FrameWriter|to_ice"),
    Target("demux", ("core/demux.cpp", "core/seat_table.hpp")),
    Target("hwr", (), module=("tests.fuzz.hwr",)),
    Target("rtcp", ("core/rtcp.cpp",)),
    Target("rtp", ("core/rtp.cpp", "core/sequence.cpp", "core/replay.hpp")),
    Target("srtp", ("core/srtp.cpp", "core/srtp_transform.cpp", "core/srtp_ciphers.cpp", "core/rollover.hpp", "core/replay.hpp")),
    Target("stun", ("core/stun.cpp", "core/ice.cpp")),
    *(Target(name, (), module=("tests.fuzz.sip", "--target", name)) for name in ("digest", "sdp", "shaken", "sip", "smpp", "uri")),
]


def tool(name: str) -> str:
    """A program of LLVM, with or without its version in the name."""
    found = shutil.which(name) or next((path for version in range(20, 13, -1) if (path := shutil.which(f"{name}-{version}"))), None)
    if found is None:
        sys.exit(f"fuzz: {name} is missing (packages clang, libclang-rt-dev, llvm)")
    return found


def quietly(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"fuzz: {' '.join(map(str, command))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def built(folder: Path, source: Path, *options: str, targets: tuple[str, ...] = ("fuzz/all",)) -> Path:
    """The folder with the programs in it."""
    launcher = [f"-DCMAKE_CXX_COMPILER_LAUNCHER={ccache}"] if (ccache := shutil.which("ccache")) else []
    env = {"CCACHE_BASEDIR": str(source.parent), "CCACHE_NOHASHDIR": "1"}
    kind = f"-DCMAKE_CXX_COMPILER={tool('clang++')}"
    if not (folder / "build.ninja").exists():  # another compiler given later would throw the other options away
        quietly("cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", kind, *launcher, *options, env=env)
    quietly("cmake", "--build", folder, "-j", str(os.cpu_count() or 2), "--target", *targets, env=env)
    return folder / "fuzz"


def command(target: Target, programs: Path, seconds: float, found: Path, crashes: Path, corpus: Path) -> list[str]:
    found.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    if target.module:
        return [sys.executable, "-m", *target.module, f"--seconds={seconds}", f"--artifacts={crashes}", str(found), str(corpus)]
    return [
        str(programs / f"fuzz_{target.name}"), f"-max_total_time={seconds:.0f}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048",
        "-use_value_profile=1", "-print_final_stats=1", f"-artifact_prefix={crashes}/{target.name}-", str(found), str(corpus),
    ]  # fmt: skip


def summary(output: str) -> str:
    runs = re.search(r"number_of_executed_units:\s*(\d+)|hwr: (\d+) runs", output)
    reached = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)|(\d+) steps, (\d+) inputs", output)
    cov, kept = (next(v for v in reached[-1][at::2] if v) for at in (0, 1)) if reached else ("?", "?")
    return f"{runs[1] or runs[2] if runs else '?':>10} runs   {cov:>5} edges   {kept:>5} inputs"


def run(targets: list[Target], seconds: float, jobs: int) -> int:
    programs = BUILD / "fuzz" if all(target.module for target in targets) else built(BUILD, NATIVE, "-DHUSHWIRE_FUZZ=ON")

    def fuzz(target: Target) -> bool:
        where = command(target, programs, seconds, BUILD / "found" / target.name, BUILD / "crashes", ROOT / target.corpus)
        done = subprocess.run(where, cwd=ROOT, capture_output=True, text=True)
        print(f"{target.name:8} {summary(done.stdout + done.stderr)}   {'ok' if done.returncode == 0 else 'CRASH'}", flush=True)
        if done.returncode:
            print(done.stderr[-6000:], file=sys.stderr)
        return done.returncode == 0

    begin = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        is_good = all(list(pool.map(fuzz, targets)))
    print(f"{len(targets)} targets, {seconds:.0f} s each, {jobs} at once: {time.monotonic() - begin:.0f} s")
    return 0 if is_good else 1


def coverage(targets: list[Target]) -> int:
    """By clang's source-based coverage, of the corpora alone: what CI replays."""
    folder = ROOT / "build" / "coverage"
    programs = folder if all(target.module for target in targets) else built(folder, NATIVE, "-DHUSHWIRE_COVERAGE=ON")
    is_good = True
    for target in targets:
        if target.module:
            out = quietly(sys.executable, "-m", *target.module, "--coverage", ROOT / target.corpus)
            reached, there = map(int, out.split())
            rows = [(f"src/hushwire, the readers of {target.name}", reached, there)]
        else:
            rows = lines_of(target, programs / f"fuzz_{target.name}", folder)
        for name, reached, there in rows:
            print(f"  {name:42} {reached:5} of {there:5}  {reached / max(there, 1):6.1%}")
        reached, there = (sum(row[at] for row in rows) for at in (1, 2))
        share = reached / max(there, 1)
        is_good &= share >= BAR
        print(f"{target.name:44} {reached:5} of {there:5}  {share:6.1%}  {'ok' if share >= BAR else f'BELOW {BAR:.0%}'}")
    return 0 if is_good else 1


def lines_of(target: Target, program: Path, folder: Path) -> list[tuple[str, int, int]]:
    """Per source: lines of code that were run, and all there are in functions that read."""
    raw, data = folder / f"{target.name}.profraw", folder / f"{target.name}.profdata"
    quietly(program, CORPUS / target.name, env={"LLVM_PROFILE_FILE": str(raw)})
    quietly(tool("llvm-profdata"), "merge", "-sparse", raw, "-o", data)
    sources = [str(NATIVE / parser) for parser in target.parsers]
    report = json.loads(quietly(tool("llvm-cov"), "export", program, f"-instr-profile={data}"))["data"][0]
    # Regions of a function: line and column of both ends, and how often it was run. The innermost one counts for a line.
    counts: dict[str, dict[int, tuple[int, int]]] = {source: {} for source in sources}
    for function in report["functions"]:
        if target.writers and re.search(target.writers, function["name"]):
            continue
        source = os.path.normpath(function["filenames"][0])
        if source not in counts:
            continue
        for first, _, last, _, count, file_id, _, kind in function["regions"]:
            if file_id != 0 or kind != 0:
                continue
            for line in range(first, last + 1):
                size, before = counts[source].get(line, (1 << 30, 0))
                if last - first < size:
                    counts[source][line] = (last - first, count)
                elif last - first == size:
                    counts[source][line] = (size, max(before, count))
    return [(str(Path(s).relative_to(NATIVE)), sum(c > 0 for _, c in lines.values()), len(lines)) for s, lines in counts.items()]


def planted(targets: list[Target]) -> int:
    """Applies each patch to a copy and expects its target to crash."""
    copy = ROOT / "build" / "planted"
    is_good = True
    for target in targets:
        patches = sorted((ROOT / target.corpus.parent.parent / "planted").glob(f"{target.name}-*.patch"))
        if not patches:
            print(f"{target.name:8} NO BUG IS PLANTED FOR IT")
            is_good = False
        for patch in patches:
            for part in ("native", "src", "tests/fuzz"):
                recopied(ROOT / part, copy / part)
            quietly("git", "apply", "--unsafe-paths", f"--directory={copy.relative_to(ROOT)}", patch)
            programs = (
                built(copy / "build", copy / "native", "-DHUSHWIRE_FUZZ=ON", targets=(f"fuzz_{target.name}",))
                if not target.module
                else copy
            )
            crashes = copy / "crashes"
            shutil.rmtree(crashes, ignore_errors=True)
            shutil.rmtree(copy / "found", ignore_errors=True)
            where = command(target, programs, PLANTED_SECONDS, copy / "found", crashes, copy / target.corpus)
            begin = time.monotonic()
            done = subprocess.run(where, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy / "src")}, capture_output=True, text=True)
            claim = re.search(r"not true: .*|SUMMARY: .*|^\w+Error.*", done.stderr, re.MULTILINE)
            is_found = done.returncode != 0 and any(crashes.iterdir())
            is_good &= is_found
            took = time.monotonic() - begin
            print(
                f"{patch.stem:40} {'found' if is_found else 'NOT FOUND'} after {took:3.0f} s  {claim[0][:100] if claim else ''}", flush=True
            )
    return 0 if is_good else 1


def recopied(source: Path, to: Path) -> None:
    """Only what differs, so that only that is built again."""
    for path in to.rglob("*"):
        if path.is_file() and not (source / path.relative_to(to)).exists():
            path.unlink()
    for path in source.rglob("*"):
        other = to / path.relative_to(source)
        if path.is_file() and "__pycache__" not in path.parts and not (other.exists() and other.read_bytes() == path.read_bytes()):
            other.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, other)


def merge(targets: list[Target]) -> int:
    programs = BUILD / "fuzz" if all(target.module for target in targets) else built(BUILD, NATIVE, "-DHUSHWIRE_FUZZ=ON")
    for target in targets:
        found = BUILD / "found" / target.name
        if target.module[:1] == ("tests.fuzz.sip",) and found.is_dir():
            quietly(sys.executable, "-m", *target.module, "--merge", ROOT / target.corpus, found)
        elif not target.module and found.is_dir():
            quietly(programs / f"fuzz_{target.name}", "-set_cover_merge=1", "-max_len=4096", CORPUS / target.name, found)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("act", choices=("run", "coverage", "planted", "merge"))
    parser.add_argument("--seconds-each", type=float, default=150)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--only", nargs="+", choices=[t.name for t in TARGETS], default=[], help="these targets alone")
    given = parser.parse_args()
    targets = [t for t in TARGETS if not given.only or t.name in given.only]
    match given.act:
        case "run":
            return run(targets, given.seconds_each, given.jobs)
        case "coverage":
            return coverage(targets)
        case "merge":
            return merge(targets)
        case _:
            return planted(targets)


if __name__ == "__main__":
    sys.exit(main())
