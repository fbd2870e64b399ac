-- who asked for what, denials included; app is a name, not a reference: the audit outlives its app
create table audit (
  id         bigint generated always as identity primary key,
  at         timestamptz not null default now(),
  -- the name of the token; null where there was none, or an unknown one
  actor      text,
  address    text not null,
  request_id text not null,
  method     text not null,
  app        text,
  -- ok, or the code of the error
  outcome    text not null,
  detail     text not null
);
create index audit_app on audit (app, id desc);
