-- One row for each artifact, as its newest registration describes it. Events come in any order, and
-- neither their order nor that of the generations says which write is the newest: the time of the
-- upload does. Where an old row lacks it, the time of the registration has to do.

CREATE OR REPLACE VIEW `${project}.${dataset}.artifacts`
OPTIONS (description = "One row for each artifact: its newest registration")
AS
SELECT
  *,
  MIN(IFNULL(upload_timestamp, registered_at)) OVER artifact AS first_upload_timestamp,
  COUNT(*) OVER artifact - 1 AS overwrites
FROM `${project}.${dataset}.registrations`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  artifact
  ORDER BY IFNULL(upload_timestamp, registered_at) DESC, generation DESC, registered_at DESC
) = 1
WINDOW artifact AS (
  PARTITION BY model_name, environment, model_version, gcs_bucket, gcs_path
);
