-- One row for each model version and environment: what is there, and whether it is the same as in the environment before.
--
-- A file's digest is a hash of its name below the version's folder, its size and its crc32c, which Cloud Storage has for
-- every object: a composite object has no md5_hash. It is NULL if one of them is missing, as in rows that are older than
-- the column crc32c. The fingerprint is a hash of all digests; versions with the same files have the same. v3/ and v03/
-- are one version: a file of the same name in both is one name with two contents, or with one if they are the same.
--
-- A file that was removed does not count. When all of a version is removed, since removed_at, it has no files and is not
-- compared. What is in the next environment is then compared with what was here before the last files were removed, which
-- is within an hour of one another. So tidying up an environment makes nothing different.
--
-- Some files make no difference, because no model is made of them:
--   .DS_Store, ._<name>, __MACOSX/   macOS leaves them in folders and archives
--   Thumbs.db                        Windows leaves it in folders
--   .ipynb_checkpoints/              Jupyter's copies of what is edited
--   _SUCCESS                         Spark's sign that a job has ended
--   <name>_$folder$, without content Hadoop's sign of a folder

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.model_versions_at`(as_of TIMESTAMP)
AS (
  WITH
    files AS (
      SELECT
        *,
        REGEXP_EXTRACT(gcs_path, '^[^/]*/[^/]*/') AS folder,
        REGEXP_EXTRACT(gcs_path, '(?s)^[^/]*/[^/]*/(.*)') AS name,
        CASE environment WHEN 'dev' THEN 1 WHEN 'staging' THEN 2 WHEN 'prod' THEN 3 END AS step,
        IF(
          LOGICAL_AND(removed_at IS NOT NULL) OVER version,
          removed_at >= TIMESTAMP_SUB(MAX(removed_at) OVER version, INTERVAL 1 HOUR),
          removed_at IS NULL
        ) AS counts
      FROM `${project}.${dataset}.artifacts_at`(as_of)
      WINDOW version AS (PARTITION BY model_name, model_version, environment)
    ),
    contents AS (
      SELECT
        *,
        TO_HEX(SHA256(CONCAT(CAST(file_size_bytes AS STRING), ' ', crc32c, ' ', name))) AS digest,
        counts
          AND NOT REGEXP_CONTAINS(
            name,
            '(^|/)([.]DS_Store|[.]_[^/]*|Thumbs[.]db|_SUCCESS)$|(^|/)(__MACOSX|[.]ipynb_checkpoints)/'
          )
          AND NOT (IFNULL(file_size_bytes, 0) = 0 AND ENDS_WITH(name, '_$folder$'))
          AS compared
      FROM files
    ),
    -- One row stands for each name, and one for each of its contents.
    told_apart AS (
      SELECT
        *,
        compared AND ROW_NUMBER() OVER (
          PARTITION BY model_name, model_version, environment, name, compared
          ORDER BY gcs_path, gcs_bucket
        ) = 1 AS stands,
        IF(
          compared AND ROW_NUMBER() OVER (
            PARTITION BY model_name, model_version, environment, name, compared, digest
            ORDER BY gcs_path, gcs_bucket
          ) = 1,
          digest,
          NULL
        ) AS content
      FROM contents
    ),
    named AS (
      SELECT
        * EXCEPT (content),
        STRING_AGG(content, ' ') OVER (
          PARTITION BY model_name, model_version, environment, name
          ORDER BY content
          ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS content
      FROM told_apart
    ),
    matched AS (
      SELECT
        *,
        LOGICAL_OR(stands AND step = 1) OVER everywhere AS in_dev,
        LOGICAL_OR(stands AND step = 2) OVER everywhere AS in_staging,
        LOGICAL_OR(stands AND step = 3) OVER everywhere AS in_prod,
        MAX(IF(stands AND step = 1, content, NULL)) OVER everywhere AS dev_content,
        MAX(IF(stands AND step = 2, content, NULL)) OVER everywhere AS staging_content
      FROM named
      WINDOW everywhere AS (PARTITION BY model_name, model_version, name)
    ),
    around AS (
      SELECT
        *,
        IF(step = 2, in_dev, in_staging) AS in_before,
        IF(step = 2, dev_content, staging_content) AS content_before,
        IF(step = 1, in_staging, in_prod) AS in_next
      FROM matched
    ),
    versions AS (
      SELECT
        model_name,
        model_version,
        environment,
        step,
        COUNTIF(removed_at IS NULL) AS files,
        SUM(IF(removed_at IS NULL, file_size_bytes, 0)) AS total_bytes,
        MIN(first_upload_timestamp) AS first_upload_timestamp,
        MAX(IFNULL(upload_timestamp, registered_at)) AS last_upload_timestamp,
        ARRAY_AGG(DISTINCT IF(counts, uploader, NULL) IGNORE NULLS ORDER BY IF(counts, uploader, NULL)) AS uploaders,
        SUM(overwrites) AS overwrites,
        IF(
          LOGICAL_OR(compared AND digest IS NULL),
          NULL,
          TO_HEX(SHA256(STRING_AGG(DISTINCT IF(compared, digest, NULL) ORDER BY IF(compared, digest, NULL))))
        ) AS fingerprint,
        IF(COUNTIF(removed_at IS NULL) = 0, MAX(removed_at), NULL) AS removed_at,
        CONCAT('gs://', MIN(gcs_bucket), '/', MIN(IF(counts, folder, NULL))) AS uri,
        COUNTIF(stands) AS names,
        COUNTIF(compared AND digest IS NULL) AS unknown,
        COUNTIF(stands AND content = content_before) AS same,
        ARRAY_AGG(IF(stands AND in_before AND content <> content_before, name, NULL) IGNORE NULLS ORDER BY name) AS different_files,
        ARRAY_AGG(IF(stands AND NOT in_before, name, NULL) IGNORE NULLS ORDER BY name) AS extra_files,
        ARRAY_AGG(IF(stands AND NOT in_next, name, NULL) IGNORE NULLS ORDER BY name) AS lacking
      FROM around
      GROUP BY model_name, model_version, environment, step
    ),
    compared AS (
      SELECT
        *,
        step > 1 AND removed_at IS NULL AS is_compared,
        CASE
          WHEN IFNULL(LAG(step) OVER version, 0) < step - 1 THEN 'skipped'
          WHEN unknown + LAG(unknown) OVER version > 0 THEN 'unknown'
          WHEN same < names THEN 'different'
          WHEN names < LAG(names) OVER version THEN 'incomplete'
          ELSE 'identical'
        END AS comparison,
        LAG(lacking) OVER version AS missing_files
      FROM versions
      WINDOW version AS (PARTITION BY model_name, model_version ORDER BY step)
    )
  SELECT
    model_name,
    model_version,
    environment,
    files,
    total_bytes,
    first_upload_timestamp,
    last_upload_timestamp,
    IFNULL(uploaders, []) AS uploaders,
    overwrites,
    fingerprint,
    removed_at,
    uri,
    IF(is_compared AND environment = 'staging', comparison, NULL) AS staging_vs_dev,
    IF(is_compared AND environment = 'prod', comparison, NULL) AS prod_vs_staging,
    ARRAY(
      SELECT name
      FROM UNNEST(different_files) AS name WITH OFFSET AS position
      WHERE is_compared AND comparison <> 'skipped' AND position < 10
      ORDER BY position
    ) AS different_files,
    ARRAY(
      SELECT name
      FROM UNNEST(missing_files) AS name WITH OFFSET AS position
      WHERE is_compared AND comparison <> 'skipped' AND position < 10
      ORDER BY position
    ) AS missing_files,
    ARRAY(
      SELECT name
      FROM UNNEST(extra_files) AS name WITH OFFSET AS position
      WHERE is_compared AND comparison <> 'skipped' AND position < 10
      ORDER BY position
    ) AS extra_files
  FROM compared
);

CREATE OR REPLACE VIEW `${project}.${dataset}.model_versions`
OPTIONS (description = "One row for each model version and environment: what is there now")
AS SELECT * FROM `${project}.${dataset}.model_versions_at`(NULL);
