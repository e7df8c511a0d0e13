"""What people do about it: alerts' life, leads, cases, deadlines, keys, and the audit that proves every change."""
