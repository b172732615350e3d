-- Folders of the web UI's conversations, and its presets. The owners are those of `chats`.
CREATE TABLE folders (
    owner TEXT NOT NULL,
    id    TEXT NOT NULL,
    name  TEXT NOT NULL,
    PRIMARY KEY (owner, id),
    UNIQUE (owner, name)
) STRICT;

CREATE TABLE presets (
    owner TEXT NOT NULL,
    id    TEXT NOT NULL,
    name  TEXT NOT NULL,
    body  TEXT NOT NULL, -- JSON
    PRIMARY KEY (owner, id),
    UNIQUE (owner, name)
) STRICT;

-- A new table: a column behind the body would be read through all of its pages.
CREATE TABLE chats_with_folders (
    owner      TEXT    NOT NULL, -- '' for administrators and a server without keys, otherwise the key's tenant
    id         TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    pinned     INTEGER NOT NULL, -- 0 or 1
    folder     TEXT    NOT NULL DEFAULT '', -- a folder's id, '' for none; an older gateway names none
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision   INTEGER NOT NULL, -- counts the changes
    bytes      INTEGER NOT NULL, -- of the body
    body       TEXT    NOT NULL, -- JSON
    PRIMARY KEY (owner, id)
) STRICT;

INSERT INTO chats_with_folders
SELECT owner, id, title, pinned, '', created_at, updated_at, revision, bytes, body FROM chats;

DROP TABLE chats;
ALTER TABLE chats_with_folders RENAME TO chats;
CREATE INDEX chats_by_time ON chats (owner, pinned, updated_at, id);
CREATE INDEX chats_by_folder ON chats (owner, folder, pinned, updated_at, id);

-- The conversations of a folder outlive it.
CREATE TRIGGER folder_is_deleted AFTER DELETE ON folders BEGIN
    UPDATE chats SET folder = '' WHERE owner = OLD.owner AND folder = OLD.id;
END;
