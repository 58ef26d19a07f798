-- One row for each model version and environment: what is there, and whether it is the same as in the environment
-- before.
--
-- Files are compared by their names below the version's folder, so v3/ and v03/ are one version. Their content is size
-- and crc32c, which Cloud Storage has for every object: a composite object has no md5_hash. It is NULL if one of them
-- is missing, as in rows that are older than the column crc32c. The fingerprint is a hash of all names and contents.
--
-- A removed file does not count. But when all files of a version were removed, the next environment is compared with
-- what was there, so that tidying up makes nothing different. A file that was removed long before the last one is then
-- not missing in the next environment.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.model_versions_at`(as_of TIMESTAMP)
AS (
  WITH
    files AS (
      SELECT
        *,
        CASE environment WHEN 'dev' THEN 1 WHEN 'staging' THEN 2 WHEN 'prod' THEN 3 END AS step,
        REGEXP_EXTRACT(gcs_path, '^[^/]*/[^/]*/') AS folder,
        REGEXP_EXTRACT(gcs_path, '(?s)^[^/]*/[^/]*/(.*)') AS name,
        CONCAT(CAST(file_size_bytes AS STRING), ' ', crc32c) AS content,
        removed_at IS NULL OR LOGICAL_AND(removed_at IS NOT NULL) OVER version AS counts,
        IFNULL(removed_at >= TIMESTAMP_SUB(MAX(removed_at) OVER version, INTERVAL 1 HOUR), TRUE) AS stayed
      FROM `${project}.${dataset}.artifacts_at`(as_of)
      WINDOW version AS (PARTITION BY model_name, model_version, environment)
    ),
    -- All files are registered, but no model is made of some, so they make no difference.
    chosen AS (
      SELECT
        *,
        counts
          AND NOT REGEXP_CONTAINS(
            name,
            CONCAT(
              r'(?:^|/)(?:',
              r'\.DS_Store\z',  -- macOS: how a folder looks
              r'|\._[^/]*\z',  -- macOS: attributes of a file, on a disk that has none
              r'|__MACOSX/',  -- macOS: the same, in an archive
              r'|Thumbs\.db\z',  -- Windows: the previews of a folder
              r'|\.ipynb_checkpoints/',  -- Jupyter: copies of what is edited
              r'|_SUCCESS\z',  -- Hadoop and Spark: a job has ended
              r')'
            )
          )
          AND NOT (file_size_bytes = 0 AND REGEXP_CONTAINS(name, r'_\x24folder\x24\z'))  -- Hadoop: a folder
          AS compared
      FROM files
    ),
    -- A name can have two contents, in v3/ and v03/: the lowest and the highest stand for them. One that is not known
    -- is an empty text.
    matched AS (
      SELECT
        *,
        MIN(IF(compared AND step = 1, IFNULL(content, ''), NULL)) OVER everywhere AS lowest_in_dev,
        MAX(IF(compared AND step = 1, content, NULL)) OVER everywhere AS highest_in_dev,
        MIN(IF(compared AND step = 2, IFNULL(content, ''), NULL)) OVER everywhere AS lowest_in_staging,
        MAX(IF(compared AND step = 2, content, NULL)) OVER everywhere AS highest_in_staging,
        MIN(IF(compared AND step = 3, IFNULL(content, ''), NULL)) OVER everywhere AS lowest_in_prod,
        MAX(IF(compared AND step = 3, content, NULL)) OVER everywhere AS highest_in_prod
      FROM chosen
      WINDOW everywhere AS (PARTITION BY model_name, model_version, name)
    ),
    paired AS (
      SELECT
        *,
        CASE step WHEN 2 THEN lowest_in_staging WHEN 3 THEN lowest_in_prod END AS lowest,
        CASE step WHEN 2 THEN highest_in_staging WHEN 3 THEN highest_in_prod END AS highest,
        CASE step WHEN 2 THEN lowest_in_dev WHEN 3 THEN lowest_in_staging END AS lowest_before,
        CASE step WHEN 2 THEN highest_in_dev WHEN 3 THEN highest_in_staging END AS highest_before,
        CASE step WHEN 1 THEN lowest_in_staging WHEN 2 THEN lowest_in_prod END AS lowest_next
      FROM matched
    ),
    told_apart AS (
      SELECT
        *,
        IF(compared, CONCAT(content, ' ', name), NULL) AS counted_content,
        IF(counts, uploader, NULL) AS counted_uploader,
        IF(
          compared
            AND '' NOT IN (lowest, lowest_before)
            AND (lowest <> lowest_before OR highest <> highest_before),
          name,
          NULL
        ) AS different_file,
        IF(compared AND step > 1 AND lowest_before IS NULL, name, NULL) AS extra_file,
        IF(compared AND step < 3 AND lowest_next IS NULL AND stayed, name, NULL) AS lone_file
      FROM paired
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
        ARRAY_AGG(DISTINCT counted_uploader IGNORE NULLS ORDER BY counted_uploader) AS uploaders,
        SUM(overwrites) AS overwrites,
        TO_HEX(SHA256(STRING_AGG(DISTINCT counted_content, '\n' ORDER BY counted_content))) AS fingerprint,
        IF(COUNTIF(removed_at IS NULL) = 0, MAX(removed_at), NULL) AS removed_at,
        MIN(IF(counts, CONCAT('gs://', gcs_bucket, '/', folder), NULL)) AS uri,
        COUNTIF(compared AND content IS NULL) AS unknown,
        ARRAY_AGG(DISTINCT different_file IGNORE NULLS ORDER BY different_file) AS different_files,
        ARRAY_AGG(DISTINCT extra_file IGNORE NULLS ORDER BY extra_file) AS extra_files,
        ARRAY_AGG(DISTINCT lone_file IGNORE NULLS ORDER BY lone_file) AS lone_files
      FROM told_apart
      GROUP BY model_name, model_version, environment, step
    ),
    -- The comparison is NULL in dev, and where the version is gone.
    judged AS (
      SELECT
        *,
        LAG(lone_files) OVER version AS missing_files,
        CASE
          WHEN step = 1 OR removed_at IS NOT NULL THEN NULL
          WHEN IFNULL(LAG(step) OVER version, 0) < step - 1 THEN 'skipped'
          WHEN ARRAY_LENGTH(different_files) > 0 OR ARRAY_LENGTH(extra_files) > 0 THEN 'different'
          WHEN unknown + LAG(unknown) OVER version > 0 THEN 'unknown'
          WHEN ARRAY_LENGTH(LAG(lone_files) OVER version) > 0 THEN 'incomplete'
          ELSE 'identical'
        END AS comparison
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
    IF(unknown = 0, fingerprint, NULL) AS fingerprint,
    removed_at,
    uri,
    IF(step = 2, comparison, NULL) AS staging_vs_dev,
    IF(step = 3, comparison, NULL) AS prod_vs_staging,
    IFNULL(IF(comparison <> 'skipped', ARRAY_SLICE(different_files, 0, 9), []), []) AS different_files,
    IFNULL(IF(comparison <> 'skipped', ARRAY_SLICE(missing_files, 0, 9), []), []) AS missing_files,
    IFNULL(IF(comparison <> 'skipped', ARRAY_SLICE(extra_files, 0, 9), []), []) AS extra_files
  FROM judged
);

CREATE OR REPLACE VIEW `${project}.${dataset}.model_versions`
OPTIONS (description = "One row for each model version and environment: what is there now")
AS SELECT * FROM `${project}.${dataset}.model_versions_at`(NULL);
