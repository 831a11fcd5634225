"""Who gets which CPUs, on machines that are made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweeps import pinning
from experiments.sweeps.pinning import Cpu, Pinning, apply, machine, pinning_document, plan, restored


def made(packages: int, cores: int, threads: int) -> list[Cpu]:
    """Numbered as Linux does: first threads of all cores, then the second ones."""
    return [
        Cpu((thread * packages + package) * cores + core, core, package)
        for thread in range(threads)
        for package in range(packages)
        for core in range(cores)
    ]


@pytest.mark.parametrize(
    ("cpus", "dataplane", "others"),
    [
        (made(1, 4, 1), {0, 1}, {2, 3}),
        (made(1, 2, 2), {0, 2}, {1, 3}),  # siblings stay together
        (made(1, 4, 2), {0, 4, 1, 5}, {2, 6, 3, 7}),
        (made(2, 2, 1), {0, 1}, {2, 3}),  # no package has enough alone
        (made(2, 16, 2), {*range(8), *range(32, 40)}, {*range(8, 16), *range(40, 48)}),  # one package
        ([one for one in made(1, 8, 1) if one.number > 2], {3, 4}, {5, 6, 7}),  # some only are allowed
    ],
)
def test_halves(cpus: list[Cpu], dataplane: set[int], others: set[int]) -> None:
    assert plan(cpus) == Pinning(frozenset(dataplane), frozenset(others))


@pytest.mark.parametrize(
    ("cpus", "words"),
    [
        (made(1, 2, 1), "2 CPUs on 2 cores are too few"),
        (made(1, 1, 2), "2 CPUs on 1 core are too few"),
        (made(1, 3, 1), "3 CPUs"),
        (made(1, 1, 8), "8 CPUs on 1 core"),
        ([], "0 CPUs"),
    ],
)
def test_too_few(cpus: list[Cpu], words: str) -> None:
    found = plan(cpus)
    assert isinstance(found, str)
    assert words in found


@given(st.integers(1, 4), st.integers(1, 16), st.integers(1, 4), st.data())
def test_no_core_is_shared_and_no_cpu_made_up(packages: int, cores: int, threads: int, data: st.DataObject) -> None:
    everything = made(packages, cores, threads)
    allowed = data.draw(st.sets(st.sampled_from([one.number for one in everything])))
    found = plan(one for one in everything if one.number in allowed)
    if isinstance(found, str):
        return
    assert found.dataplane
    assert found.others
    assert found.dataplane | found.others <= allowed
    core_of = {one.number: (one.package, one.core) for one in everything}
    assert not {core_of[one] for one in found.dataplane} & {core_of[one] for one in found.others}


def test_the_machine_as_sysfs_tells_of_it(tmp_path: Path) -> None:
    for number, (core, package) in {0: (0, 0), 1: (0, 0), 2: (4, 1)}.items():
        topology = tmp_path / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text(f"{core}\n")
        (topology / "physical_package_id").write_text(f"{package}\n")
    assert machine([0, 1, 2, 7], tmp_path) == [Cpu(0, 0, 0), Cpu(1, 0, 0), Cpu(2, 4, 1), Cpu(7, -8, 0)]


def test_the_process_goes_back_where_it_was() -> None:
    before = os.sched_getaffinity(0)
    with restored():
        os.sched_setaffinity(0, {min(before)})
    assert os.sched_getaffinity(0) == before


def test_data_planes_go_to_their_cpus_with_all_threads_and_this_process_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placed: list[tuple[int, set[int]]] = []
    threads = {"/proc/7/task": ["7", "8"], f"/proc/{os.getpid()}/task": ["1", "2"]}

    def place(thread: int, cpus: frozenset[int]) -> None:
        if thread == 8:
            raise ProcessLookupError
        placed.append((thread, set(cpus)))

    def listed(path: str) -> list[str]:
        if path not in threads:
            raise FileNotFoundError(path)
        return threads[path]

    monkeypatch.setattr(pinning.os, "listdir", listed)
    monkeypatch.setattr(pinning.os, "sched_setaffinity", place)
    apply(Pinning(frozenset({0, 1}), frozenset({2})), [99, 7])  # 99 has ended meanwhile, as has the thread 8
    assert placed == [(7, {0, 1}), (1, {2}), (2, {2})]


def test_what_the_document_says_of_it() -> None:
    assert pinning_document("too few") == "too few"
    assert pinning_document(Pinning(frozenset({3, 0}), frozenset({2, 1}))) == {"dataplane": [0, 3], "others": [1, 2]}


def test_a_cpu_that_sysfs_tells_nonsense_of_stands_for_a_core(tmp_path: Path) -> None:
    topology = tmp_path / "cpu3" / "topology"
    topology.mkdir(parents=True)
    (topology / "core_id").write_text("many\n")
    (topology / "physical_package_id").write_text("1\n")
    assert machine({3}, tmp_path) == [Cpu(3, -4, 0)]
    assert [one.number for one in machine()] == sorted(os.sched_getaffinity(0))
