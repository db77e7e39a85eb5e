-- Keys and names are compared byte by byte, as no language would: that is several times cheaper in every index entry that is looked
-- up or made, and no new release of the system's locales can put an index out of order.
ALTER TABLE outbox
    ALTER COLUMN event_key TYPE text COLLATE "C",
    ALTER COLUMN topic TYPE text COLLATE "C",
    ALTER COLUMN partition_key TYPE text COLLATE "C";
