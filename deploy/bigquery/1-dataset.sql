-- The dataset. An existing one stays where it is: setup.sh runs this only where there is none.

CREATE SCHEMA IF NOT EXISTS `${project}`.${dataset}
OPTIONS (location = "${location}", description = "Uploads of model artifacts");
