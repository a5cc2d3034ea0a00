-- Hooks are written down in the audit log; how far they were told is not.
SELECT audit_table('hook', 'id', 'secret old_secret old_secret_until',
                   'position wanted attempt next_at failing_since fault epoch held_until updated_at');
