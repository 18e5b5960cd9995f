"""Recipes: a TOML file says how a figure is made, from training to picture; nothing is made twice."""

from landscape.executor import Event
from landscape.recipe.draw_figure import draw_panel
from landscape.recipe.faults import Fault, RecipeError
from landscape.recipe.panel import Panel, Recipe
from landscape.recipe.render_recipe import render
from landscape.recipe.report import RecipeReport, Report, StepReport
from landscape.recipe.validate import load
from landscape.recipe.values import Figure, Run

__all__ = [
    "Event",
    "Fault",
    "Figure",
    "Panel",
    "Recipe",
    "RecipeError",
    "RecipeReport",
    "Report",
    "Run",
    "StepReport",
    "draw_panel",
    "load",
    "render",
]
