"""The grammar of an artifact's place in its bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifact import ArtifactPath
from registry.errors import FolderMarker, InvalidArtifactPath, UploadPart

INT64_MAX = 2**63 - 1
segments = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1)
files = st.lists(segments, min_size=1, max_size=4).map("/".join)


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


@pytest.mark.parametrize(
    "name",
    [
        "",  # nothing
        "model.pkl",  # no model, no version
        "titanic-survival/model.pkl",  # no version
        "titanic-survival/v3",  # no file
        "titanic-survival/1/model.pkl",  # a version is v<N>
        "titanic-survival/1.0/model.pkl",  # the same
        "titanic-survival/v1.0/model.pkl",  # a version is one number
        "titanic-survival/v1-rc1/model.pkl",  # nothing follows it
        "titanic-survival/v-1/model.pkl",  # it has no sign
        "titanic-survival/v+1/model.pkl",  # not this one either
        "titanic-survival/v1_000/model.pkl",  # int() would take it
        "titanic-survival/v 1/model.pkl",  # int() would take this, too
        "titanic-survival/v1\n/model.pkl",  # `$` would let it through
        "titanic-survival/v/model.pkl",  # no number
        "titanic-survival/V1/model.pkl",  # a capital
        "titanic-survival/version1/model.pkl",  # a word
        "titanic-survival/v٣/model.pkl",  # a digit, but not an ASCII one
        "titanic-survival/v²/model.pkl",  # a digit to str.isdigit
        "titanic-survival/v9223372036854775808/model.pkl",  # past INT64
        f"titanic-survival/v{'9' * 5000}/model.pkl",  # past what int() reads
        "/v3/model.pkl",  # an empty model
        "//v3/model.pkl",  # the same
        "models/titanic-survival/v3/model.pkl",  # one segment too many before the version
    ],
)
def test_a_name_outside_the_layout_is_refused(name: str) -> None:
    with pytest.raises(InvalidArtifactPath, match="expected <model>/v<N>/<file>") as refused:
        ArtifactPath.parse(name)

    assert type(refused.value) is InvalidArtifactPath  # somebody should look at it
    assert repr(name) in str(refused.value)


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
        ArtifactPath.parse(name)


@given(segments, st.integers(0, INT64_MAX), st.integers(0, 30), files)
def test_what_the_layout_spells_is_read_back(
    model: str, version: int, padding: int, file: str
) -> None:
    path = ArtifactPath.parse(f"{model}/v{'0' * padding}{version}/{file}")

    assert (path.model_name, path.model_version, path.file_name) == (model, version, file)


@given(st.text() | st.from_regex(r"[a/]*/v[0-9.a/]*/[a/]*"))
def test_any_name_is_either_read_or_refused(name: str) -> None:
    try:
        path = ArtifactPath.parse(name)
    except InvalidArtifactPath as refused:
        assert "expected <model>/v<N>/<file>" in str(refused)  # noqa: PT017 - both ways are right
    else:
        head, _, rest = name.partition("/")
        middle, _, file = rest.partition("/")

        assert (path.model_name, path.file_name) == (head, file)
        assert (middle[0], int(middle[1:])) == ("v", path.model_version)
