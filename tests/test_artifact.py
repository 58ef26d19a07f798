"""The grammar of an artifact's place in its bucket."""

import ast
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.artifact import ArtifactPath
from registry.errors import FolderMarker, InvalidArtifactPath, UploadPart, shorten

INT64_MAX = 2**63 - 1
segments = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1)
files = st.lists(segments, min_size=1, max_size=4).map("/".join)
PARTS = "tmp/parallel_composite_uploads"
versions = st.from_regex(r"\s?([vV]|version[=_ ]?)?\d{0,20}[.\n-]?\d?\s?", fullmatch=True)
names = st.text() | st.lists(segments | versions | st.just(""), max_size=6).map("/".join)


@pytest.mark.parametrize(
    ("name", "model_name", "model_version", "file_name"),
    [
        ("titanic-survival/v1/model.pkl", "titanic-survival", 1, "model.pkl"),
        ("fraud/v3/variables/variables.index", "fraud", 3, "variables/variables.index"),
        ("fraud/v007/model.pkl", "fraud", 7, "model.pkl"),  # padded, so that versions sort
        ("fraud/v0/model.pkl", "fraud", 0, "model.pkl"),
        ("fraud/v000/model.pkl", "fraud", 0, "model.pkl"),
        (f"fraud/v{INT64_MAX}/model.pkl", "fraud", INT64_MAX, "model.pkl"),
        (f"fraud/v000{INT64_MAX}/m", "fraud", INT64_MAX, "m"),  # the number counts, not its width
        ("Ünïcode modèle/v2/ein Modell.pkl", "Ünïcode modèle", 2, "ein Modell.pkl"),
        ("a%2Fb/v1/c%2Fd", "a%2Fb", 1, "c%2Fd"),  # a literal %2F is not a slash
        ("v1/v2/v3", "v1", 2, "v3"),  # a model may be called v1
        ("fraud/v1/v2/model.pkl", "fraud", 1, "v2/model.pkl"),  # the second segment counts
        ("fraud/v1//model.pkl", "fraud", 1, "/model.pkl"),  # an empty folder name is a name
        (" /v1/ ", " ", 1, " "),
        ("fraud/v1/gcloud/tmp/notes.txt", "fraud", 1, "gcloud/tmp/notes.txt"),
    ],
)
def test_a_name_inside_the_layout_is_read(
    name: str, model_name: str, model_version: int, file_name: str
) -> None:
    assert ArtifactPath.parse(name) == ArtifactPath(
        model_name=model_name, model_version=model_version, file_name=file_name
    )


REASONS = [
    # Too few parts.
    ("", "there is no model and no version: write a name such as 'my-model/v1/model.pkl'"),
    ("m.pkl", "there is no model and no version: write a name such as 'my-model/v1/m.pkl'"),
    ("churn/m.pkl", "there is no version: write a name such as 'churn/v1/m.pkl'"),
    ("churn/v3", "there is no file after 'v3': write a name such as 'churn/v3/model.pkl'"),
    ("churn/3", "there is no file after '3': write a name such as 'churn/v3/model.pkl'"),
    ("v1/m.pkl", "there is no model before 'v1': write a name such as 'my-model/v1/m.pkl'"),
    ("v1/variables/x", "there is no model before 'v1': write a name such as 'my-model/v1/va…"),
    # The version can be read all the same.
    ("churn/8/m.pkl", "the version '8' lacks its v: write 'churn/v8/m.pkl'"),
    ("churn/08/a/b", "the version '08' lacks its v: write 'churn/v08/a/b'"),
    ("churn/8//m.pkl", "the version '8' lacks its v: write 'churn/v8//m.pkl'"),
    ("churn/V10/m.pkl", "the version 'V10' is not lower case: write 'churn/v10/m.pkl'"),
    ("churn/v\u0663/m", "the version 'v\u0663' has digits other than 0 to 9: write 'churn/v3/m'"),
    ("churn/\uff11\uff12/m", "has digits other than 0 to 9: write 'churn/v12/m'"),
    ("churn/version=1/m", "the version 'version=1' is not v and digits only: write 'churn/v1/m'"),
    ("churn/Version1/m", "the version 'Version1' is not v and digits only: write 'churn/v1/m'"),
    ("churn/v_1/m", "the version 'v_1' is not v and digits only: write 'churn/v1/m'"),
    ("churn/v 1/m", "the version 'v 1' is not v and digits only: write 'churn/v1/m'"),
    ("churn/ v1/m", "the version ' v1' has white space around it: write 'churn/v1/m'"),
    ("churn/v1\n/m", r"the version 'v1\n' has white space around it: write 'churn/v1/m'"),
    # It cannot: v1.2 may be 1, 12 or 102.
    ("churn/v1.2/m", "the version 'v1.2' is not v and digits only: write a version such as v3"),
    ("churn/1.0/m", "the version '1.0' is not v and digits only: write a version such as v3"),
    ("churn/v/m", "the version 'v' lacks its number: write a version such as v3"),
    ("churn/v1-rc1/m", "the version 'v1-rc1' is not v and digits only: write a version such…"),
    ("churn/v1_final/m", "the version 'v1_final' is not v and digits only: write a version…"),
    ("churn/v1_000/m", "the version 'v1_000' is not"),  # int() would take it
    ("churn/v-1/m", "the version 'v-1' is not"),  # it may be a sign
    ("churn/v+1/m", "the version 'v+1' is not"),
    ("churn/v²/m", "the version 'v²' is not"),  # a digit to str.isdigit
    ("churn/latest/m", "the version 'latest' is not"),
    ("churn/\nv\n2/m", r"the version '\nv\n2' is not"),
    # It is too large.
    (f"churn/v{2**63}/m.pkl", "N is at most 9223372036854775807"),
    (f"churn/{2**63}/m.pkl", "N is at most 9223372036854775807"),
    (f"churn/v{2**63}", "N is at most 9223372036854775807"),
    (f"v{2**63}/m.pkl", "N is at most 9223372036854775807"),
    (f"churn/v{'9' * 5000}/m.pkl", "N is at most 9223372036854775807"),  # past what int() reads
    # It comes too late.
    (
        "team/churn/v1/m.pkl",
        (
            "the version is the second part, but 'v1' is part 3:"
            " write a name such as 'team-churn/v1/m.pkl'"
        ),
    ),
    ("a/b/c/V1/d/m", "but 'V1' is part 4: write a name such as 'a-b-c/v1/d/m'"),
    ("team/churn//v1/m", "but 'v1' is part 4: write a name such as 'team-churn/v1/m'"),
    ("team/churn/8/m.pkl", "the version 'churn' is not v and digits only"),  # 8 may be a file's
    # A slash too many.
    ("/churn/v1/m.pkl", "it begins with a slash: write 'churn/v1/m.pkl'"),
    ("//churn/v1/m.pkl", "it begins with a slash: write 'churn/v1/m.pkl'"),
    ("churn//v1/m.pkl", "it has a doubled slash: write 'churn/v1/m.pkl'"),
    ("churn///v1//m.pkl", "it has a doubled slash: write 'churn/v1//m.pkl'"),
    ("/v1/m.pkl", "it begins with a slash, and there is no model before 'v1': write a name such…"),
    ("//v1/m.pkl", "it begins with a slash, and there is no model before 'v1': write a name such…"),
    ("/churn//8/m", "it begins with a slash, and the version '8' lacks its v: write 'churn/v8/m'"),
    (f"/churn/v{2**63}/m", "it begins with a slash, and N is at most 9223372036854775807"),
]


@pytest.mark.parametrize(("name", "reason"), REASONS)
def test_a_name_outside_the_layout_is_refused_with_what_to_write(name: str, reason: str) -> None:
    with pytest.raises(InvalidArtifactPath) as refused:
        ArtifactPath.parse(name)

    message = str(refused.value)
    assert type(refused.value) is InvalidArtifactPath  # somebody should look at it
    assert message.startswith(f"expected <model>/v<N>/<file>, found {shorten(name)}: ")
    assert reason.removesuffix("…") in message


def test_a_reason_is_short_and_its_end_is_the_file() -> None:
    file = "f" * 1000
    with pytest.raises(InvalidArtifactPath) as refused:
        ArtifactPath.parse(f"churn/8/{file}")

    assert "the version '8' lacks its v: write 'churn/v8/fff" in str(refused.value)
    assert str(refused.value).endswith("fff…")
    for name in (
        file,
        f"churn/v{file}/m",
        f"{file}/{file}/v1/m",
        "\0" * 1024,
        f"/{file}//8/{file}",
    ):
        with pytest.raises(InvalidArtifactPath) as refused:
            ArtifactPath.parse(name)
        assert len(str(refused.value)) < 800


@pytest.mark.parametrize(
    "name",
    [
        "titanic-survival/v3/",  # what a console makes for an empty folder
        "titanic-survival/v3/variables/",
        "titanic-survival/",
        "/",
    ],
)
def test_a_folder_marker_is_not_an_artifact(name: str) -> None:
    with pytest.raises(FolderMarker, match="expected <model>/v<N>/<file>"):
        ArtifactPath.parse(name)


@pytest.mark.parametrize(
    "name",
    [
        "gcloud/tmp/parallel_composite_uploads/see_gcloud_storage_cp_help_for_details/1_a_0",
        "8d1f/gsutil/tmp/parallel_composite_uploads/for_details_see/gsutil_help_cp/a_0",
        "/gsutil/tmp/parallel_composite_uploads/for_details_see/gsutil_help_cp/a_0",
        "fraud/v1/gsutil/tmp/parallel_composite_uploads/a_0",  # fits the layout, and is none
        "fraud/v1/gcloud/tmp/parallel_composite_uploads/a_0",  # gcloud can be told to put it there
    ],
)
def test_an_upload_part_is_not_an_artifact(name: str) -> None:
    with pytest.raises(UploadPart, match="a temporary part"):
        ArtifactPath.parse(name, size=5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "churn/v1/",
            "it ends in a slash as a folder does, but holds 352 bytes: write a name such",
        ),
        ("churn/v1/variables/", "such as 'churn/v1/variables/model.pkl'"),
        ("churn/", "but holds 352 bytes, and there is no version: write a name such as 'churn/v1/"),
        ("churn/1/", "holds 352 bytes, and the version '1' lacks its v: write 'churn/v1/model.pkl"),
        ("/", "but holds 352 bytes, and it begins with a slash, and there is no model and no"),
    ],
)
def test_content_under_a_folders_name_is_not_a_folder_marker(name: str, reason: str) -> None:
    with pytest.raises(InvalidArtifactPath, match="expected <model>/v<N>/<file>") as refused:
        ArtifactPath.parse(name, size=352)

    assert type(refused.value) is InvalidArtifactPath  # somebody should look at it
    assert reason in str(refused.value)


def test_the_size_of_a_file_does_not_matter() -> None:
    assert ArtifactPath.parse("m/v1/f", size=0) == ArtifactPath.parse("m/v1/f", size=5)


@given(segments, st.integers(0, INT64_MAX), st.integers(0, 30), files)
def test_what_the_layout_spells_is_read_back(
    model: str, version: int, padding: int, file: str
) -> None:
    path = ArtifactPath.parse(f"{model}/v{'0' * padding}{version}/{file}")

    assert (path.model_name, path.model_version, path.file_name) == (model, version, file)


@given(names, st.integers(0, 2))
@example(f"gcloud//{PARTS}/a_0", 0)
@example(f"m//v1/gcloud//{PARTS}/a_0", 0)
@example(f"m/v1/gcloud/{PARTS}/", 1)
def test_any_name_is_read_or_what_to_write_instead_can_be_read(name: str, size: int) -> None:
    try:
        path = ArtifactPath.parse(name, size=size)
    except InvalidArtifactPath as refused:
        assert str(refused).startswith(f"expected <model>/v<N>/<file>, found {shorten(name)}: ")  # noqa: PT017 - both ways are right
        instead = re.search(r": write (a name such as )?(['\"].*['\"])$", str(refused))
        if instead:  # and not cut
            ArtifactPath.parse(ast.literal_eval(instead[2]), size=size)
    else:
        head, _, rest = name.partition("/")
        middle, _, file = rest.partition("/")

        assert (path.model_name, path.file_name) == (head, file)
        assert (middle[0], int(middle[1:])) == ("v", path.model_version)
