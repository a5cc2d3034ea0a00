SELECT audit_table('membership', 'id');
SELECT audit_table('invitation', 'id');
SELECT audit_table('quota', 'id');
