-- One row for each artifact, as its newest registration describes it. Events come in any order, and generations
-- need not grow, so the newest write is the one with the latest upload time. An old row without an upload time
-- counts by the time of its registration.
--
-- removed_at is when the artifact was removed from its bucket; NULL while it is there.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.artifacts_at`(as_of TIMESTAMP)
AS (
  SELECT
    * EXCEPT (removed_at),
    MIN(IFNULL(upload_timestamp, registered_at)) OVER artifact AS first_upload_timestamp,
    COUNT(*) OVER artifact - 1 AS overwrites,
    removed_at
  FROM `${project}.${dataset}.registrations_at`(as_of)
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (
    artifact
    ORDER BY IFNULL(upload_timestamp, registered_at) DESC, generation DESC, registered_at DESC
  ) = 1
  WINDOW artifact AS (
    PARTITION BY model_name, environment, model_version, gcs_bucket, gcs_path
  )
);

CREATE OR REPLACE VIEW `${project}.${dataset}.artifacts`
OPTIONS (description = "One row for each artifact: its newest registration")
AS SELECT * FROM `${project}.${dataset}.artifacts_at`(NULL);
