-- One row for each thing that happened to a model version in an environment. What happened to several of its files,
-- each within ten minutes of the one before, is one row.
--
--   arrived      its first files, also when all earlier ones are gone
--   completed    files of other names, later
--   overwritten  other bytes under the same name
--   rewritten    the same bytes once more: a repeated upload, another storage class
--   removed      files that were deleted, and not overwritten
--   reappeared   files that are there again after they were removed
--
-- Overwriting an object removes the generation before it, at the same time to within a second. That is no removal.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.changes_at`(as_of TIMESTAMP)
AS (
  WITH
    timed AS (
      SELECT
        *,
        IFNULL(upload_timestamp, registered_at) AS written_at,
        TIMESTAMP_TRUNC(upload_timestamp, MILLISECOND) AS upload,
        JSON_VALUE(metadata.git_commit) AS git_commit
      FROM `${project}.${dataset}.registrations_at`(as_of)
    ),
    writes AS (
      SELECT
        model_name,
        model_version,
        environment,
        gcs_bucket,
        gcs_path,
        generation,
        upload,
        file_size_bytes,
        uploader,
        git_commit,
        written_at,
        LEAD(written_at) OVER artifact AS next_written_at,
        CASE
          WHEN LAG(written_at) OVER artifact IS NULL THEN 'arrived'
          WHEN LAG(removed_at) OVER artifact < TIMESTAMP_SUB(written_at, INTERVAL 1 SECOND) THEN 'reappeared'
          WHEN file_size_bytes = LAG(file_size_bytes) OVER artifact AND crc32c = LAG(crc32c) OVER artifact
            THEN 'rewritten'
          ELSE 'overwritten'
        END AS change
      FROM timed
      WINDOW artifact AS (
        PARTITION BY model_name, environment, model_version, gcs_bucket, gcs_path
        ORDER BY written_at, generation, registered_at
      )
    ),
    -- A removal may be recorded several times, and taken back.
    turns AS (
      SELECT
        writes.*,
        IFNULL(removed_at, recorded_at) AS changed_at,
        removed_at IS NULL AS is_live,
        IFNULL(LAG(removed_at IS NULL) OVER written, TRUE) AS was_live
      FROM writes
      JOIN `${project}.${dataset}.removals` AS removals
        ON writes.gcs_bucket = removals.gcs_bucket
        AND writes.gcs_path = removals.gcs_path
        AND IFNULL(
          writes.generation = removals.generation,
          upload IS NOT DISTINCT FROM TIMESTAMP_TRUNC(upload_timestamp, MILLISECOND)
        )
      WHERE as_of IS NULL OR IFNULL(removed_at, recorded_at) <= as_of
      WINDOW written AS (
        PARTITION BY
          model_name, environment, model_version, writes.gcs_bucket, writes.gcs_path, writes.generation, written_at
        ORDER BY IFNULL(removed_at, recorded_at), removed_at IS NULL
      )
    ),
    happened AS (
      SELECT
        model_name,
        model_version,
        environment,
        gcs_bucket,
        gcs_path,
        file_size_bytes,
        uploader,
        git_commit,
        written_at AS changed_at,
        change
      FROM writes
      UNION ALL
      SELECT
        model_name,
        model_version,
        environment,
        gcs_bucket,
        gcs_path,
        file_size_bytes,
        uploader,
        git_commit,
        changed_at,
        IF(is_live, 'reappeared', 'removed') AS change
      FROM turns
      WHERE is_live <> was_live
        AND IFNULL(next_written_at > TIMESTAMP_ADD(changed_at, INTERVAL 1 SECOND), TRUE)
    ),
    spaced AS (
      SELECT
        *,
        LAG(changed_at) OVER (
          PARTITION BY model_name, model_version, environment, change
          ORDER BY changed_at, gcs_bucket, gcs_path
        ) AS changed_before,
        -- Of what happened in one moment, removals come last: a move does not empty a version.
        SUM(CASE change WHEN 'removed' THEN -1 WHEN 'arrived' THEN 1 WHEN 'reappeared' THEN 1 ELSE 0 END) OVER (
          PARTITION BY model_name, model_version, environment
          ORDER BY changed_at, change = 'removed', gcs_bucket, gcs_path
          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS files_before
      FROM happened
    ),
    started AS (
      SELECT
        *,
        IFNULL(changed_at > TIMESTAMP_ADD(changed_before, INTERVAL 10 MINUTE), TRUE) AS starts
      FROM spaced
    ),
    numbered AS (
      SELECT
        *,
        COUNTIF(starts) OVER (
          PARTITION BY model_name, model_version, environment, change
          ORDER BY changed_at, gcs_bucket, gcs_path
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS number
      FROM started
    ),
    -- A file that was overwritten several times counts once, as it then was.
    counted AS (
      SELECT
        * EXCEPT (change),
        change AS kind,
        LEAD(changed_at) OVER (
          PARTITION BY model_name, model_version, environment, change, number, gcs_bucket, gcs_path
          ORDER BY changed_at
        ) IS NULL AS counts
      FROM numbered
    )
  SELECT
    MIN(changed_at) AS changed_at,
    model_name,
    model_version,
    environment,
    IF(kind = 'arrived' AND COUNTIF(starts AND files_before > 0) > 0, 'completed', kind) AS change,
    COUNTIF(counts) AS files,
    SUM(IF(counts, file_size_bytes, 0)) AS total_bytes,
    IFNULL(ARRAY_AGG(DISTINCT uploader IGNORE NULLS ORDER BY uploader), []) AS uploaders,
    MAX(changed_at) AS ended_at,
    MAX(git_commit) AS git_commit
  FROM counted
  GROUP BY model_name, model_version, environment, kind, number
);

CREATE OR REPLACE VIEW `${project}.${dataset}.changes`
OPTIONS (description = "One row for each thing that happened to a model version in an environment")
AS SELECT * FROM `${project}.${dataset}.changes_at`(NULL);
