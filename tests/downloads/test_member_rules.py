"""The rules for entries at their edges: names, sizes, places, links, each just allowed and just refused."""

from __future__ import annotations

import pytest

from update_all.core.errors import ArchiveError
from update_all.downloads.members import (
    MAX_HOPS,
    MIB,
    Kind,
    Limits,
    Manifest,
    Member,
    decode_name,
    path_parts,
)

FILE, DIRECTORY, SYMLINK, HARDLINK = Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK
DEEP = "/".join(["d"] * 40)
LONG = "/".join(["n" * 254] * 4)


def admitted(*members: Member, top: str = "", limits: Limits | None = None) -> Manifest:
    manifest = Manifest(limits or Limits(), top)
    for member in members:
        manifest.admit(member)
    return manifest


def link(name: str, target: str) -> Member:
    return Member(name, SYMLINK, target=target)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a",)),
        ("a/b/c", ("a", "b", "c")),
        ("a/", ("a",)),
        ("./a", ("a",)),
        ("./././a/b/", ("a", "b")),
        (".", ()),
        ("./", ()),
        ("./.", ()),
        ("...", ("...",)),
        (".a/b.", (".a", "b.")),
        ("a/-b", ("a", "-b")),
        ("1:b", ("1:b",)),
        ("ab:c", ("ab:c",)),
        ("a/c:d", ("a", "c:d")),
        ("ü ß/日本", ("ü ß", "日本")),
        ("~", ("~",)),
        (DEEP, ("d",) * 40),
        ("n" * 255, ("n" * 255,)),
        ("ü" * 127, ("ü" * 127,)),
        (LONG + "/123", (*["n" * 254] * 4, "123")),
        (LONG + "/1234", (*["n" * 254] * 4, "1234")),
    ],
)  # fmt: skip
def test_names_that_are_taken(name: str, parts: tuple[str, ...]) -> None:
    assert path_parts(name) == parts


@pytest.mark.parametrize(
    "name",
    ["", "/", "//", "/a", "a//b", "a/./b", "a/.", "..", "a/..", "../a", "a/../b", ".//a", "./..", ".//",
     "a//", "-", "-a/b", "./-a", "c:", "C:a", "z:/a", "a\\b", "\\", "a\nb", "a\0", "\x7f", "a\x1f", "\x85",
     "a\xadb", "a\u200b", "\u202e", "\ud800", "\u2028", "\u2029", DEEP + "/d", "n" * 256,
     "a/" + "n" * 256 + "/b", "ü" * 128, LONG + "/12345"],
)  # fmt: skip
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ArchiveError):
        path_parts(name)


def test_names_are_utf_8() -> None:
    assert decode_name("ü日".encode()) == "ü日"
    for raw in (b"\xff", b"\xc3", b"\xed\xa0\x80"):
        with pytest.raises(ArchiveError, match="not UTF-8"):
            decode_name(raw)


def test_a_bomb_begins_beyond_64_mebibytes() -> None:
    limits = Limits(ratio=200)
    limits.require_ratio(0, 64 * MIB)
    limits.require_ratio(1000, 64 * MIB + 200_000)
    for packed, inflated in ((0, 64 * MIB + 1), (1000, 64 * MIB + 200_001)):
        with pytest.raises(ArchiveError, match="200 times: a bomb"):
            limits.require_ratio(packed, inflated)


@pytest.mark.parametrize("mode", [0, 0o777, 0o644, 0o1777, 0o100644])
def test_modes_that_are_taken(mode: int) -> None:
    admitted(Member("a", FILE, 1, mode))


@pytest.mark.parametrize("mode", [0o4000, 0o2000, 0o6755, 0o4755, 0o2644])
@pytest.mark.parametrize("kind", Kind)
def test_no_entry_gives_privileges(kind: Kind, mode: int) -> None:
    with pytest.raises(ArchiveError, match="set-uid or set-gid"):
        admitted(Member("a", kind, 0, mode, "b"))


def test_only_files_have_contents() -> None:
    for kind in (DIRECTORY, SYMLINK, HARDLINK):
        admitted(Member("a", kind, 0, target="b"))
        with pytest.raises(ArchiveError, match="with contents"):
            admitted(Member("a", kind, 1, target="b"))


def test_the_limits_themselves_are_allowed() -> None:
    limits = Limits(entries=3, total_bytes=100, file_bytes=60)
    files = (Member("a", FILE, 60), Member("b", FILE, 40))
    manifest = admitted(*files, Member("d", DIRECTORY), limits=limits)
    assert (manifest.entries, manifest.bytes) == (3, 100)
    assert admitted(limits=limits).entries == admitted(limits=limits).bytes == 0
    for more, message in (
        ((*files, Member("c", FILE, 1)), "more than 3 entries or 100 bytes"),
        ((*files, Member("c", FILE), Member("d", FILE)), "more than 3 entries or 100 bytes"),
        ((Member("a", FILE, 61),), "beyond the limit"),
        ((Member("a", FILE, -1),), "beyond the limit"),
    ):
        with pytest.raises(ArchiveError, match=message):
            admitted(*more, limits=limits)


@pytest.mark.parametrize("kind", [FILE, SYMLINK, HARDLINK])
def test_only_a_folder_has_the_name_of_one(kind: Kind) -> None:
    with pytest.raises(ArchiveError, match="with the name of a directory"):
        admitted(Member("a/", kind, target="b"))
    with pytest.raises(ArchiveError, match="in place of the whole tree"):
        admitted(Member(".", kind, target="b"))
    assert admitted(Member("a/", DIRECTORY)).admit(Member("./", DIRECTORY)) == ()


def test_the_folder_at_the_top_is_taken_away() -> None:
    manifest = Manifest(Limits(), "tool-*")
    names = ("./", "tool-1/", "tool-1/bin/", "tool-1/bin/tool")
    places = [
        manifest.admit(Member(name, DIRECTORY if name.endswith("/") else FILE, target="")) for name in names
    ]
    assert places == [(), (), ("bin",), ("bin", "tool")]
    assert manifest.admit(Member("tool-1/a", HARDLINK, target="tool-1/bin/tool")) == ("a",)
    assert manifest.link_source(Member("tool-1/a", HARDLINK, target="tool-1/bin/tool")) == ("bin", "tool")
    manifest.require_files(("bin/tool", "a"))
    for member in (
        Member("tool-2/a", FILE),
        Member("tool-2/", DIRECTORY),
        Member("other", FILE),
        Member("tool-1", FILE),
        link("tool-1", "x"),
        Member("too", DIRECTORY),
        Member("tool-*/a", FILE),
    ):
        with pytest.raises(ArchiveError, match=r"expected everything inside 'tool-1'|twice"):
            manifest.admit(member)


def test_the_first_entry_must_be_at_the_expected_top() -> None:
    for member in (Member("TOOL/a", FILE), Member("tool", FILE), link("tool", "x"), Member("a/tool/b", FILE)):
        with pytest.raises(ArchiveError, match="expected everything inside 'tool'"):
            admitted(member, top="tool")
    assert Manifest(Limits()).admit(Member("any/thing", FILE)) == ("any", "thing")


@pytest.mark.parametrize("one", [Member("a", FILE), link("a", "b"), Member("x", FILE)])
@pytest.mark.parametrize("other", [Member("a", FILE), link("a", "c"), Member("a", HARDLINK, target="x")])
def test_one_place_has_one_entry(one: Member, other: Member) -> None:
    if one.name == "x":
        admitted(one, other)
        return
    with pytest.raises(ArchiveError, match="'a' is there twice"):
        admitted(one, other)


@pytest.mark.parametrize("other", [Member("d", FILE), link("d", "c"), Member("d", HARDLINK, target="x")])
def test_a_folder_is_no_other_entry(other: Member) -> None:
    for folder in (Member("d", DIRECTORY), Member("d/a", FILE), Member("d/e/f/", DIRECTORY)):
        admitted(folder, Member("d/", DIRECTORY), Member("d", DIRECTORY))
        with pytest.raises(ArchiveError, match="'d' is there twice"):
            admitted(folder, other)
        with pytest.raises(ArchiveError, match=r"is there twice|lies below"):
            admitted(other, folder)
    with pytest.raises(ArchiveError, match="'d/e' is there twice"):
        admitted(Member("d/e/f", FILE), Member("d/e", other.kind, target="x"))


@pytest.mark.parametrize("below", ["a/b", "a/b/c", "a/b/c/d/"])
@pytest.mark.parametrize("other", [Member("a", FILE), link("a", "b"), Member("a", HARDLINK, target="x")])
def test_nothing_lies_below_a_file_or_a_link(other: Member, below: str) -> None:
    with pytest.raises(ArchiveError, match="lies below something that is no directory"):
        admitted(other, Member(below, DIRECTORY if below.endswith("/") else FILE))
    with pytest.raises(ArchiveError, match="lies below something that is no directory"):
        admitted(
            Member("d", DIRECTORY), Member("d/a", other.kind, target="x"), Member(f"d/{below[:3]}", FILE)
        )


@pytest.mark.parametrize("target", ["b", "d", "s", "a/", "d/", "./a/", "nothing", "d/nothing"])
def test_a_hard_link_leads_to_an_earlier_file(target: str) -> None:
    manifest = admitted(Member("a", FILE), Member("d/c", FILE), link("s", "a"))
    for good, place in (("a", ("a",)), ("./a", ("a",)), ("d/c", ("d", "c"))):
        assert manifest.link_source(Member("h", HARDLINK, target=good)) == place
    with pytest.raises(ArchiveError, match="no earlier file"):
        manifest.link_source(Member("h", HARDLINK, target=target))


@pytest.mark.parametrize("target", ["", "/", "/a", "x" * 1025, "ü" * 513, "a\nb", "a\\b", "c:x"])
def test_targets_of_links_that_are_refused(target: str) -> None:
    with pytest.raises(ArchiveError):
        admitted(link("a", target))


@pytest.mark.parametrize("target", ["b", "x" * 1024, "ü" * 512, ".", "-x", "b//c/", "./b"])
def test_targets_of_links_that_are_taken(target: str) -> None:
    manifest = admitted(link("a", target))
    manifest.require_links_inside()
    assert manifest.symlinks == {("a",): target}


@pytest.mark.parametrize(
    ("name", "target"), [("a", ".."), ("d/a", "../.."), ("d/e/a", "../../../x"), ("a", "b/../.."), ("a", "a")]
)
def test_links_that_lead_out_are_named(name: str, target: str) -> None:
    manifest = admitted(link(name, target))
    with pytest.raises(ArchiveError, match=f"^'{name}' is a link out of the archive or a circle"):
        manifest.require_links_inside()


def test_links_inside_are_no_way_out() -> None:
    manifest = admitted(link("d/e/a", "../.."), link("d/up", ".."), link("far", "d/up/d/e/f/g"))
    manifest.require_links_inside()
    assert manifest.resolve((), "far/../h") == ("d", "e", "f", "h")
    assert manifest.resolve(("d",), "e/a/x") == ("x",)


def test_as_many_links_as_the_kernel_follows() -> None:
    """ELOOP after 40: path_resolution(7)."""
    links = [link(f"l{number}", f"./l{number + 1}") for number in range(MAX_HOPS)]
    manifest = admitted(*links, Member(f"l{MAX_HOPS}", FILE))
    manifest.require_links_inside()
    assert MAX_HOPS == 40
    assert manifest.resolve((), "l0") == ("l40",)
    manifest.admit(link("more", "l0"))
    assert manifest.resolve((), "more") is None
    manifest.require_links_inside()
    manifest.admit(link("one more", "more"))
    with pytest.raises(ArchiveError, match="'one more' is a link out"):
        manifest.require_links_inside()


def test_expected_files_may_be_links_to_files() -> None:
    manifest = admitted(Member("bin/tool", FILE), link("tool", "bin/tool"), link("away", "bin"))
    manifest.require_files(("bin/tool", "tool", "away/tool", "./tool"))
    for name in ("bin", "away", "nothing", "../tool", ""):
        with pytest.raises(ArchiveError, match=f"the expected file '{name}'"):
            manifest.require_files(("tool", name))


def test_an_entry_is_plain_where_nothing_is_said() -> None:
    assert Member("a", FILE) == Member("a", FILE, 0, 0o644, "", 0)
    assert [str(kind) for kind in Kind] == ["file", "directory", "symlink", "hardlink"]
