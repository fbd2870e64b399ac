alter table versions add column build_secrets jsonb not null default '{}';
alter table versions add column image_tag text;
create index versions_image_tag on versions (image_tag) where image_tag is not null;
-- specs of the first release, with the defaults of the keys that came since
update versions set spec = spec || '{"auto_sync": false, "build": {"dockerfile": "Dockerfile", "args": {}}}'::jsonb where not spec ? 'build';

-- one row for each image that was ever asked for; app and version are names, not references: builds outlive their app
create table builds (
  tag          text primary key,
  app          text not null,
  version      integer not null,
  builder      text not null,
  state        text not null check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  image_digest text,
  failure      jsonb,
  -- the last lines, oldest first
  logs         jsonb not null default '[]',
  queued_at    timestamptz not null,
  started_at   timestamptz,
  ended_at     timestamptz
);
create index builds_newest on builds (queued_at desc);

-- uploads of `holdfast deploy`, in parts; `digest` (of the tree) once they are complete
create table uploads (
  archive    text primary key,
  bytes      bigint not null,
  part_bytes integer not null,
  digest     text,
  files      integer,
  tree_bytes bigint,
  touched_at timestamptz not null default now()
);
create index uploads_digest on uploads (digest);
create table upload_parts (
  archive text not null references uploads (archive) on delete cascade,
  part    integer not null,
  data    bytea not null,
  primary key (archive, part)
);
