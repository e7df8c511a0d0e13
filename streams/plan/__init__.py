"""The plan: rules, thresholds, limits and legal bases as data, loaded into frozen dataclasses."""

from streams.plan.load import LeadRule, Plan, PlanFaults, Rule, load_plan

__all__ = ["LeadRule", "Plan", "PlanFaults", "Rule", "load_plan"]
