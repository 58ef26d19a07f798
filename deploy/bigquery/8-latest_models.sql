-- One row for each model and environment: its highest version, how many versions there are, and how many higher ones
-- dev has. Versions may have gaps, so they are counted. Dev's row comes after the others of its version, so that these
-- do not count it as higher.
--
-- differing_versions are all versions that are different from the environment before, or never were there, and not
-- the highest alone.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.latest_models_at`(as_of TIMESTAMP)
AS (
  WITH
    there AS (
      SELECT
        *,
        COUNTIF(environment = 'dev') OVER (
          PARTITION BY model_name
          ORDER BY model_version DESC, environment = 'dev'
          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS versions_behind_dev,
        IF(IFNULL(staging_vs_dev, prod_vs_staging) IN ('different', 'skipped'), model_version, NULL) AS differing
      FROM `${project}.${dataset}.model_versions_at`(as_of)
      WHERE removed_at IS NULL
    ),
    models AS (
      SELECT
        model_name,
        environment,
        ARRAY_AGG(there ORDER BY model_version DESC LIMIT 1)[OFFSET(0)] AS highest,
        COUNT(*) AS versions,
        SUM(total_bytes) AS versions_total_bytes,
        ARRAY_AGG(differing IGNORE NULLS ORDER BY differing DESC) AS differing_versions
      FROM there
      GROUP BY model_name, environment
    )
  SELECT
    model_name,
    highest.model_version,
    environment,
    highest.* EXCEPT (model_name, model_version, environment, versions_behind_dev, differing),
    highest.versions_behind_dev,
    versions,
    versions_total_bytes,
    IFNULL(differing_versions, []) AS differing_versions
  FROM models
);

CREATE OR REPLACE VIEW `${project}.${dataset}.latest_models`
OPTIONS (description = "One row for each model and environment: its highest version")
AS SELECT * FROM `${project}.${dataset}.latest_models_at`(NULL);
