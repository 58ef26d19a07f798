"""The queries of the inventory, one for each question."""

# Names are whole: BigQuery's default dataset is for tables, and these are functions.
# {fitting} is FITTING if there are conditions, and else nothing, so that no metadata is read.
LATEST_MODELS = """
    SELECT *
    FROM `{dataset}.latest_models_at`(@as_of){fitting}
    WHERE environment IN UNNEST(@environments) AND last_upload_timestamp >= @since
    ORDER BY model_name, STRPOS('dev staging prod', environment)
"""
MODEL_NAMES = """
    SELECT DISTINCT model_name
    FROM `{dataset}.registrations_at`(@as_of)
    ORDER BY model_name
"""
MODEL_VERSIONS = """
    SELECT *
    FROM `{dataset}.model_versions_at`(@as_of){fitting}
    WHERE model_name = @model_name
      AND environment IN UNNEST(@environments)
      AND last_upload_timestamp >= @since
    ORDER BY removed_at IS NOT NULL, model_version DESC, STRPOS('dev staging prod', environment)
"""
MODEL_VERSION_FOLDERS = """
    WITH places AS (
      SELECT
        model_version, environment,
        ARRAY_AGG(
          DISTINCT CONCAT('gs://', gcs_bucket, '/', REGEXP_EXTRACT(gcs_path, '^[^/]*/[^/]*/'))
        ) AS folders
      FROM `{dataset}.artifacts_at`(@as_of)
      WHERE model_name = @model_name AND removed_at IS NULL
      GROUP BY model_version, environment
    )
    SELECT * EXCEPT (folders), IFNULL(folders, []) AS folders
    FROM `{dataset}.model_versions_at`(@as_of)
    LEFT JOIN places USING (model_version, environment)
    WHERE model_name = @model_name
    ORDER BY model_version DESC, STRPOS('dev staging prod', environment)
"""
MODEL_VERSION_FILES = """
    WITH newest AS (
      SELECT *
      FROM `{dataset}.model_versions_at`(@as_of){fitting}
      WHERE model_name = @model_name
        AND model_version <= @newest
        AND environment IN UNNEST(@environments)
        AND last_upload_timestamp >= @since
      QUALIFY DENSE_RANK() OVER (ORDER BY model_version DESC) <= @versions
    ), files AS (
      SELECT *
      FROM `{dataset}.artifacts_at`(@as_of)
      WHERE model_name = @model_name
      QUALIFY ROW_NUMBER() OVER (
        PARTITION BY model_version, environment
        ORDER BY removed_at IS NOT NULL, gcs_path, gcs_bucket
      ) <= @files
    ), listed AS (
      SELECT
        model_version, environment,
        ARRAY_AGG(files ORDER BY removed_at IS NOT NULL, gcs_path, gcs_bucket) AS artifacts
      FROM files
      GROUP BY model_version, environment
    )
    SELECT *
    FROM newest
    JOIN listed USING (model_version, environment)
    ORDER BY removed_at IS NOT NULL, model_version DESC, STRPOS('dev staging prod', environment)
"""
# A version is opened if it is the highest in an environment. Of the others, one file has to do.
MODEL_HISTORY = """
    WITH ranked AS (
      SELECT
        *,
        DENSE_RANK() OVER (ORDER BY model_version DESC) AS place,
        DENSE_RANK() OVER (
          PARTITION BY model_version <= @newest ORDER BY model_version DESC
        ) AS place_on_page,
        removed_at IS NULL
          AND model_version = MAX(IF(removed_at IS NULL, model_version, NULL)) OVER (
            PARTITION BY environment
          )
          AS is_highest
      FROM `{dataset}.model_versions_at`(@as_of)
      WHERE model_name = @model_name
        AND environment IN UNNEST(@environments)
        AND last_upload_timestamp >= @since
    ), marked AS (
      SELECT *, LOGICAL_OR(is_highest) OVER (PARTITION BY model_version) AS is_opened
      FROM ranked
    ), chosen AS (
      SELECT *
      FROM marked
      WHERE is_opened
        OR place <= @drawn
        OR model_version <= @newest AND place_on_page <= @versions
    ), files AS (
      SELECT artifacts.*
      FROM `{dataset}.artifacts_at`(@as_of) AS artifacts
      JOIN chosen USING (model_version, environment)
      WHERE artifacts.model_name = @model_name
      QUALIFY ROW_NUMBER() OVER (
        PARTITION BY model_version, environment
        ORDER BY artifacts.removed_at IS NOT NULL, gcs_path, gcs_bucket
      ) <= IF(is_opened, @files, 1)
    ), listed AS (
      SELECT
        model_version, environment,
        ARRAY_AGG(files ORDER BY removed_at IS NOT NULL, gcs_path, gcs_bucket) AS artifacts
      FROM files
      GROUP BY model_version, environment
    ), happened AS (
      SELECT
        model_version, environment,
        ARRAY_AGG(changes ORDER BY changed_at DESC, change LIMIT 100) AS changes
      FROM `{dataset}.changes_at`(@as_of) AS changes
      WHERE model_name = @model_name
      GROUP BY model_version, environment
    )
    SELECT *
    FROM chosen
    JOIN listed USING (model_version, environment)
    JOIN happened USING (model_version, environment)
    ORDER BY model_version DESC, STRPOS('dev staging prod', environment)
"""
# Files that no model is made of: the same as in 6-model_versions.sql, which a test checks.
COMPARED_FILES = r"""
    SELECT
      *,
      NOT REGEXP_CONTAINS(
        REGEXP_EXTRACT(gcs_path, '(?s)^[^/]*/[^/]*/(.*)'),
        CONCAT(
          r'(?:^|/)(?:',
          r'\.DS_Store\z',
          r'|\._[^/]*\z',
          r'|__MACOSX/',
          r'|Thumbs\.db\z',
          r'|\.ipynb_checkpoints/',
          r'|_SUCCESS\z',
          r')'
        )
      )
        AND NOT (
          IFNULL(file_size_bytes = 0, FALSE) AND REGEXP_CONTAINS(gcs_path, r'_\x24folder\x24\z')
        )
        AS counts
    FROM `{dataset}.artifacts_at`(@as_of)
    WHERE model_name = @model_name
      AND model_version IN (@first, @second)
      AND environment IN UNNEST(@environments)
      AND removed_at IS NULL
    ORDER BY gcs_path, gcs_bucket
"""
PROMOTIONS = """
    SELECT *
    FROM `{dataset}.promotions_at`(@as_of)
    WHERE (@model_name IS NULL OR model_name = @model_name)
      AND (
        'dev' IN UNNEST(@environments) AND dev_last_upload_timestamp >= @since
        OR 'staging' IN UNNEST(@environments) AND staging_last_upload_timestamp >= @since
        OR 'prod' IN UNNEST(@environments) AND prod_last_upload_timestamp >= @since
      )
    ORDER BY model_name, model_version DESC
"""
CHANGES = """
    SELECT *
    FROM `{dataset}.changes_at`(@as_of)
    WHERE (@model_name IS NULL OR model_name = @model_name)
      AND environment IN UNNEST(@environments)
      AND ended_at >= @since
    ORDER BY
      changed_at DESC, model_name, model_version DESC,
      STRPOS('dev staging prod', environment), change
"""
UNLIKE_STAGING = """
    SELECT
      prod_vs_staging AS comparison,
      COUNT(*) AS versions,
      ARRAY_AGG(
        CONCAT(model_name, '/v', CAST(model_version AS STRING))
        ORDER BY last_upload_timestamp DESC, model_name, model_version DESC
        LIMIT 10
      ) AS examples
    FROM `{dataset}.model_versions_at`(@as_of)
    WHERE environment IN UNNEST(@environments)
      AND last_upload_timestamp >= @since
      AND prod_vs_staging IN ('different', 'skipped')
    GROUP BY prod_vs_staging
    ORDER BY prod_vs_staging
"""
GENERATIONS = """
    SELECT *
    FROM `{dataset}.registrations_at`(@as_of)
    WHERE gcs_bucket = @gcs_bucket
      AND gcs_path = @gcs_path
      AND model_name = @model_name
      AND environment IN UNNEST(@environments)
      AND IFNULL(upload_timestamp, registered_at) >= @since
    ORDER BY IFNULL(upload_timestamp, registered_at) DESC, generation DESC
"""
REGISTERED = """
    SELECT
      gcs_path AS name,
      generation,
      upload_timestamp,
      registered_at,
      file_size_bytes AS size,
      crc32c,
      TO_JSON_STRING(metadata) AS metadata,
      removed_at IS NOT NULL AS removed
    FROM `{dataset}.registrations_at`(@as_of)
    WHERE gcs_bucket = @gcs_bucket
      AND STARTS_WITH(gcs_path, @prefix)
      AND environment IN UNNEST(@environments)
      AND IFNULL(upload_timestamp, registered_at) >= @since
    ORDER BY name
"""

# Versions of which, for each condition, a file that is there fits. The path of JSON_VALUE has to be
# constant, but a subscript takes any text as the key, so that none is ever part of the query.
FITTING = """
    JOIN (
      SELECT model_name, model_version, environment
      FROM (
        SELECT
          model_name, model_version, environment, position,
          @operators[OFFSET(position)] AS operator,
          @values[OFFSET(position)] AS wanted,
          SAFE_CAST(@values[OFFSET(position)] AS BIGNUMERIC) AS wanted_number,
          JSON_VALUE(metadata[key]) AS found,
          SAFE_CAST(JSON_VALUE(metadata[key]) AS BIGNUMERIC) AS found_number
        FROM `{dataset}.artifacts_at`(@as_of), UNNEST(@keys) AS key WITH OFFSET AS position
        WHERE {among} AND removed_at IS NULL
      )
      WHERE CASE operator
        WHEN '=' THEN IFNULL(found_number = wanted_number, found = wanted)
        WHEN '!=' THEN IFNULL(found_number <> wanted_number, found <> wanted)
        WHEN '<' THEN found_number < wanted_number
        WHEN '<=' THEN found_number <= wanted_number
        WHEN '>' THEN found_number > wanted_number
        WHEN '>=' THEN found_number >= wanted_number
      END
      GROUP BY model_name, model_version, environment
      HAVING COUNT(DISTINCT position) = ARRAY_LENGTH(@keys)
    ) USING (model_name, model_version, environment)"""
