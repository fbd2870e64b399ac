-- the token by which the upload was begun: one token must not take the places of all
alter table uploads add column begun_by text not null default '';
