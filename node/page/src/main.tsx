// The page: it starts what is live, and draws the frame around whichever view the address names.

import { render } from "preact";
import { startAway } from "./live/away";
import { startData } from "./live/data";
import { connect } from "./live/link";
import { startPast } from "./live/past";
import { startKeys } from "./keys";
import { startRouter } from "./router";
import { startTheme } from "./theme";
import { Shell } from "./shell";
import "./style.css";

startTheme();
startRouter();
startKeys();
startPast();
startData();
connect();
startAway();
const root = document.getElementById("page");
if (root !== null) render(<Shell />, root);
