-- One row for each model version and environment: what is there now, and whether it is the same as in the environment
-- before.
--
-- The fingerprint is a hash of each file's name below the version's folder, its size and its crc32c, which Cloud Storage
-- has for every object: a composite object has no md5_hash. It is NULL if one of them is missing, as in rows that are
-- older than the column crc32c.
--
-- A file that is gone from its bucket does not count. When all of a version is gone, since gone_since, it has no files,
-- and is compared as it was: so tidying up an environment makes nothing different.

CREATE OR REPLACE VIEW `${project}.${dataset}.model_versions`
OPTIONS (description = "One row for each model version and environment: what is there now")
AS
WITH
  files AS (
    SELECT
      *,
      TO_HEX(SHA256(CONCAT(
        CAST(file_size_bytes AS STRING), ' ', crc32c, ' ',
        REGEXP_EXTRACT(gcs_path, '(?s)^[^/]*/[^/]*/(.*)')
      ))) AS digest,
      gone_since IS NULL OR LOGICAL_AND(NOT gone_since IS NULL) OVER (
        PARTITION BY model_name, model_version, environment
      ) AS counts
    FROM `${project}.${dataset}.artifacts`
  ),
  contents AS (
    SELECT
      *,
      IF(counts, digest, NULL) AS file,
      IF(counts, uploader, NULL) AS person
    FROM files
  ),
  versions AS (
    SELECT
      model_name,
      model_version,
      environment,
      COUNTIF(gone_since IS NULL) AS files,
      SUM(IF(gone_since IS NULL, file_size_bytes, 0)) AS total_bytes,
      MIN(first_upload_timestamp) AS first_upload_timestamp,
      MAX(IFNULL(upload_timestamp, registered_at)) AS last_upload_timestamp,
      IFNULL(ARRAY_AGG(DISTINCT person IGNORE NULLS ORDER BY person), []) AS uploaders,
      SUM(overwrites) AS overwrites,
      IF(
        COUNT(file) = COUNTIF(counts),
        TO_HEX(SHA256(STRING_AGG(DISTINCT file ORDER BY file))),
        NULL
      ) AS fingerprint,
      IF(COUNTIF(gone_since IS NULL) = 0, MAX(gone_since), NULL) AS gone_since,
      CASE environment WHEN 'dev' THEN 1 WHEN 'staging' THEN 2 WHEN 'prod' THEN 3 END AS step
    FROM contents
    GROUP BY model_name, model_version, environment
  ),
  compared AS (
    SELECT
      *,
      CASE
        WHEN step > 1 AND IFNULL(LAG(step) OVER version, 0) < step - 1 THEN 'skipped'
        WHEN step > 1 AND fingerprint = LAG(fingerprint) OVER version THEN 'identical'
        WHEN step > 1 AND fingerprint <> LAG(fingerprint) OVER version THEN 'different'
        WHEN step > 1 THEN 'unknown'
      END AS comparison
    FROM versions
    WINDOW version AS (PARTITION BY model_name, model_version ORDER BY step)
  )
SELECT
  * EXCEPT (step, comparison),
  IF(environment = 'staging', comparison, NULL) AS staging_vs_dev,
  IF(environment = 'prod', comparison, NULL) AS prod_vs_staging
FROM compared;
