-- One row for each model version and environment: what is there now, and whether it is what is in the
-- environment before.
--
-- The fingerprint is a hash of each file's name below the version's folder, its size and its crc32c,
-- the checksum which Cloud Storage has of every object: a composite one has no md5_hash. It is NULL
-- where one of them is missing, as in rows from before the column crc32c.

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
      ))) AS file
    FROM `${project}.${dataset}.artifacts`
  ),
  versions AS (
    SELECT
      model_name,
      model_version,
      environment,
      COUNT(*) AS files,
      SUM(file_size_bytes) AS total_bytes,
      MIN(first_upload_timestamp) AS first_upload_timestamp,
      MAX(IFNULL(upload_timestamp, registered_at)) AS last_upload_timestamp,
      IFNULL(ARRAY_AGG(DISTINCT uploader IGNORE NULLS ORDER BY uploader), []) AS uploaders,
      SUM(overwrites) AS overwrites,
      IF(
        COUNT(file) = COUNT(*),
        TO_HEX(SHA256(STRING_AGG(DISTINCT file ORDER BY file))),
        NULL
      ) AS fingerprint,
      CASE environment WHEN 'dev' THEN 1 WHEN 'staging' THEN 2 WHEN 'prod' THEN 3 END AS step
    FROM files
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
