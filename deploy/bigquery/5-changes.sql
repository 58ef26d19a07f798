-- One row for each thing that happened to a model version in an environment. What happened to several of its files within
-- ten minutes of one another is one row.
--
--   arrived      the first files of the version
--   completed    files of other names that came later
--   overwritten  other bytes under the same name
--   rewritten    the same bytes again: an upload that was repeated, another storage class
--   removed      files deleted, and not overwritten
--   reappeared   files that are live again after they were removed

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.changes_at`(as_of TIMESTAMP)
AS (
  WITH
    writes AS (
      SELECT
        *,
        IFNULL(upload_timestamp, registered_at) AS written_at,
        LAG(IFNULL(upload_timestamp, registered_at)) OVER path AS written_before,
        LAG(removed_at) OVER path AS removed_before,
        LAG(crc32c) OVER path AS crc32c_before,
        LAG(file_size_bytes) OVER path AS size_before,
        LEAD(IFNULL(upload_timestamp, registered_at)) OVER path AS written_next
      FROM `${project}.${dataset}.registrations_at`(as_of)
      WINDOW path AS (
        PARTITION BY model_name, environment, model_version, gcs_bucket, gcs_path
        ORDER BY IFNULL(upload_timestamp, registered_at), generation
      )
    ),
    turns AS (
      SELECT
        gcs_bucket,
        gcs_path,
        generation,
        upload_timestamp,
        IFNULL(removed_at, recorded_at) AS changed_at,
        removed_at IS NULL AS is_live,
        IFNULL(LAG(removed_at IS NULL) OVER generation_of, TRUE) AS was_live
      FROM `${project}.${dataset}.removals`
      WHERE as_of IS NULL OR IFNULL(removed_at, recorded_at) <= as_of
      WINDOW generation_of AS (
        PARTITION BY gcs_bucket, gcs_path, generation, upload_timestamp
        ORDER BY IFNULL(removed_at, recorded_at)
      )
    ),
    happened AS (
      SELECT
        writes.* EXCEPT (written_at),
        written_at AS changed_at,
        CASE
          WHEN written_before IS NULL THEN 'arrived'
          WHEN removed_before < TIMESTAMP_SUB(written_at, INTERVAL 1 SECOND) THEN 'reappeared'
          WHEN crc32c = crc32c_before AND file_size_bytes = size_before THEN 'rewritten'
          ELSE 'overwritten'
        END AS change
      FROM writes
      UNION ALL
      SELECT
        writes.* EXCEPT (written_at),
        turns.changed_at,
        IF(is_live, 'reappeared', 'removed') AS change
      FROM turns
      JOIN writes
        ON turns.gcs_bucket = writes.gcs_bucket
        AND turns.gcs_path = writes.gcs_path
        AND IF(
          turns.generation IS NULL OR writes.generation IS NULL,
          TIMESTAMP_TRUNC(turns.upload_timestamp, MILLISECOND)
            IS NOT DISTINCT FROM TIMESTAMP_TRUNC(writes.upload_timestamp, MILLISECOND),
          turns.generation = writes.generation
        )
      WHERE is_live <> was_live
        AND (written_next IS NULL OR written_next > TIMESTAMP_ADD(turns.changed_at, INTERVAL 1 SECOND))
    ),
    spaced AS (
      SELECT
        *,
        LAG(changed_at) OVER (
          PARTITION BY model_name, model_version, environment, change ORDER BY changed_at
        ) AS changed_before
      FROM happened
    ),
    counted AS (
      SELECT
        *,
        COUNTIF(
          changed_before IS NULL OR changed_at > TIMESTAMP_ADD(changed_before, INTERVAL 10 MINUTE)
        ) OVER (
          PARTITION BY model_name, model_version, environment, change
          ORDER BY changed_at
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS number
      FROM spaced
    )
  SELECT
    MIN(changed_at) AS changed_at,
    model_name,
    model_version,
    environment,
    IF(change = 'arrived' AND number > 1, 'completed', change) AS change,
    COUNT(DISTINCT CONCAT(gcs_bucket, '/', gcs_path)) AS files,
    SUM(file_size_bytes) AS total_bytes,
    IFNULL(ARRAY_AGG(DISTINCT uploader IGNORE NULLS ORDER BY uploader), []) AS uploaders,
    MAX(changed_at) AS ended_at,
    MAX(JSON_VALUE(metadata, '$.git_commit')) AS git_commit
  FROM counted
  GROUP BY model_name, model_version, environment, change, number
);

CREATE OR REPLACE VIEW `${project}.${dataset}.changes`
OPTIONS (description = "One row for each thing that happened to a model version in an environment")
AS SELECT * FROM `${project}.${dataset}.changes_at`(NULL);
