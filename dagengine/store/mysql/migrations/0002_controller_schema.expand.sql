-- compatible_from: 2
-- Which schema the program of a controller has. Programs of schema 1 refuse every newer schema, so
-- they cannot run beside later ones. The default is for the rows that they have written.
ALTER TABLE controller ADD COLUMN schema_version BIGINT NOT NULL DEFAULT 1;
